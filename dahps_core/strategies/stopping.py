"""Early stopping: whether a trial that reports its metric is worth going on with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import median

#: By the names that `strategy.stop` gives.
STOP_RULES = ("median", "patience")

#: The median of fewer trials says nothing.
_FEWEST_OTHERS = 5


class Stopper:
    """Judges one trial by its reports.

    "median": it is stopped at a step where its best metric so far is worse than the median of what other
    trials had on average up to that step (D. Golovin et al., "Google Vizier", KDD 2017, section 3.2.2).
    "patience": it is stopped when its last `after` reports have brought no new best one.

    Args:
        rule: One of `STOP_RULES`.
        after: Minimum number of reports before a stop.
        direction: Whether to "minimize" or to "maximize" the metric.
        before: Step -> metric, as earlier attempts of the trial have reported.
        others: The same of other trials, which have finished.
    """

    def __init__(
        self,
        rule: str,
        after: int,
        direction: str,
        before: Mapping[int, float],
        others: Iterable[Mapping[int, float]] = (),
    ) -> None:
        self._rule = rule
        self._after = after
        self._sign = 1.0 if direction == "minimize" else -1.0
        self._scores = {step: self._score(metric) for step, metric in before.items()}
        self._others = [{step: self._score(metric) for step, metric in other.items()} for other in others]

    def take(self, step: int, metric: float) -> None:
        """Take in one more report of the trial; the last one of a step counts."""
        self._scores[step] = self._score(metric)

    @property
    def should_stop(self) -> bool:
        """Whether it is to be stopped, by what it has reported so far."""
        if len(self._scores) < self._after:
            return False
        scores = [self._scores[step] for step in sorted(self._scores)]
        if self._rule == "patience":
            return len(scores) > self._after and min(scores[-self._after :]) >= min(scores[: -self._after])
        averages = [average for other in self._others if (average := self._average(other)) is not None]
        return len(averages) >= _FEWEST_OTHERS and min(scores) > median(averages)

    def _average(self, other: Mapping[int, float]) -> float | None:
        until = max(self._scores)
        scores = [score for step, score in other.items() if step <= until]
        return sum(scores) / len(scores) if scores else None

    def _score(self, metric: float) -> float:
        return math.inf if math.isnan(metric) else self._sign * metric
