"""What a report is made of, read from the ledger once."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dahps_core.ledger import Ledger, Search
from dahps_core.ledger.mixed_configs import finished_by_configs
from dahps_core.ledger.views.repetitions import LeftOut
from dahps_core.ledger.views.survey import AttemptSpan, Improvement
from dahps_core.ledger.views.trial_rows import RungRecord
from dahps_core.model.combination import Value, canonical
from dahps_core.model.records import TrialRecord, TrialState
from dahps_core.report.sample import MOST_TRIALS, Sample
from dahps_core.space import SearchSpace
from dahps_core.space.listed import Listed
from dahps_core.text.printing import printable

#: Number of different errors that are listed.
_FAILURES_LISTED = 3


@dataclass(frozen=True)
class Survey:
    """A search as it stood.

    Attributes:
        spaces: Those that are searched, oldest first.
        n_trials: How many were drawn or enqueued.
        n_unmeasured: How many have finished without a finite metric.
        by_configs: How many trials finished with each of the kept configs; empty if these never changed.
        left_out: Which combinations do not rank; None where combinations are not judged by their means.
        improvements: When the best metric so far became better.
        trials: Those that the page shows: all, or those that `sample` describes.
        attempts: Of the trials that represent all, and of the best ones.
        sample: How they were chosen; None: all are shown.
        made_at: Seconds since the epoch.
    """

    folder: Path
    search: Search
    spaces: Sequence[SearchSpace]
    counts: Mapping[TrialState, int]
    rungs: Sequence[RungRecord]
    best: TrialRecord | None
    n_trials: int
    n_unmeasured: int
    by_configs: Mapping[int, int]
    left_out: LeftOut | None
    improvements: Sequence[Improvement]
    trials: Sequence[TrialRecord]
    attempts: Sequence[AttemptSpan]
    sample: Sample | None
    made_at: float

    @classmethod
    def of(cls, ledger: Ledger) -> Survey:
        """Survey a ledger by many short reads, between which workers may write."""
        n_trials = ledger.n_drawn
        sample = Sample.of(ledger, n_trials) if n_trials > MOST_TRIALS else None
        numbers = range(n_trials) if sample is None else sorted({*sample.random, *sample.best})
        return cls(
            folder=ledger.folder,
            search=ledger.search,
            spaces=ledger.spaces(),
            counts=ledger.counts(),
            rungs=ledger.rungs(),
            best=ledger.best(),
            n_trials=n_trials,
            n_unmeasured=ledger.n_unmeasured(),
            by_configs=finished_by_configs(ledger),
            left_out=ledger.left_out(),
            improvements=ledger.improvements(),
            trials=list(ledger.trials() if sample is None else sample.trials(ledger)),
            attempts=list(ledger.attempts_among(numbers)),
            sample=sample,
            made_at=time.time(),
        )

    @property
    def is_minimized(self) -> bool:
        """Which end of the metric is best."""
        return self.search.direction == "minimize"

    @property
    def objective(self) -> str:
        """The metric's name."""
        return self.search.metric or "metric"

    @cached_property
    def shown(self) -> list[tuple[TrialRecord, float]]:
        """The trials on the page that finished with a finite metric, each with that of its highest level."""
        found = ((trial, _last_metric(trial)) for trial in self.trials)
        return [(trial, metric) for trial, metric in found if metric is not None and math.isfinite(metric)]

    @cached_property
    def measured(self) -> list[tuple[TrialRecord, float]]:
        """The trials of `shown` that represent all: the best ones are not overrepresented among them."""
        return [one for one in self.shown if self.is_counted(one[0].number)]

    @property
    def n_measured(self) -> int:
        """How many trials have a finite metric, on the page or not."""
        return len(self.shown) if self.sample is None else self.sample.n_measured

    def is_counted(self, number: int) -> bool:
        """Return whether a trial on the page represents others; one shown for its result does not."""
        return self.sample is None or number in self.sample.random

    def estimated(self, n_counted: int) -> str:
        """Estimate how many of all trials are like a number of those that represent all."""
        if self.sample is None:
            return f"{n_counted:,}"
        return f"about {float(f'{n_counted * self.n_trials / len(self.sample.random):.2g}'):,.0f}"

    def failures(self) -> Iterator[str]:
        """Return the errors of the failed and lost trials with their counts, the most frequent first."""
        ends = Counter(
            printable(trial.error.strip().rpartition("\n")[2])
            for trial in self.trials
            if trial.error and trial.state in (TrialState.FAILED, TrialState.LOST)
        )
        for error, count in ends.most_common(_FAILURES_LISTED):
            yield f"{count:,} x {error}"
        if len(ends) > _FAILURES_LISTED:
            yield f"and {len(ends) - _FAILURES_LISTED:,} other errors"

    @cached_property
    def values(self) -> dict[str, dict[str, Value]]:
        """Key -> canonical text -> value: all that the spaces and the trials have, numbers ascending."""
        found: dict[str, dict[str, Value]] = {}
        for key, value in self._all_values():
            found.setdefault(key, {}).setdefault(canonical(value), value)
        return {key: dict(sorted(values.items(), key=_by_number)) for key, values in found.items()}

    def _all_values(self) -> Iterator[tuple[str, Value]]:
        for space in self.spaces:
            for _, key, values in space.levels():
                if not isinstance(values, Listed):
                    yield from ((key, value) for value in values)
        for trial in self.trials:
            yield from trial.combination.items()

    def good_end_first(self, metrics: Sequence[float]) -> list[float]:
        """Return the metrics, the best one first."""
        return sorted(metrics, reverse=not self.is_minimized)

    def span(self, metrics: Sequence[float]) -> tuple[float, float]:
        """Return the range of the metrics without the worst 5 %, ascending."""
        ranked = self.good_end_first(metrics)
        ends = ranked[0], ranked[math.ceil(0.95 * (len(ranked) - 1))]
        return min(ends), max(ends)


def quantile(ascending: Sequence[float], share: float) -> float:
    """Return a quantile by linear interpolation (type 7 of Hyndman and Fan, 1996)."""
    place = share * (len(ascending) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ascending) - 1)
    weight = place - low
    # Not low + weight * (high - low): the difference of two floats may be infinite.
    return ascending[low] * (1 - weight) + ascending[high] * weight


def _last_metric(trial: TrialRecord) -> float | None:
    return trial.metrics[max(trial.metrics)] if trial.metrics else trial.metric


def _by_number(entry: tuple[str, Value]) -> tuple[bool, float]:
    value = entry[1]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return (not is_number, float(value) if is_number else 0.0)  # type: ignore[arg-type]
