"""The rungs of a strategy with levels: which trials ended where, and which may be promoted.

Asynchronous successive halving with promotion: L. Li et al., "A System for Massively Parallel Hyperparameter
Tuning", MLSys 2020, Algorithm 2. A promotion is decided by what has ended when it is made, and by that alone.
The top of a rung is not sorted at each claim: an ending trial changes two at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from dahps_core.ledger.sqlite.database import Transaction
from dahps_core.strategies.brackets import Brackets, Resource


def ends_at_levels(attempts: Iterable[tuple[int, str, float | None, float]]) -> dict[int, End]:
    """Map each rung to how the trial ended there: by its last attempt that finished or failed.

    Args:
        attempts: The trial's, in order: (level, outcome, metric, when it ended).
    """
    return {
        level: End(metric, ended_at)
        for level, outcome, metric, ended_at in attempts
        if outcome in ("finished", "failed", "died")
    }


class End(NamedTuple):
    """How a trial ended at a level: with a metric, None if it failed or had none, and when."""

    metric: float | None
    ended_at: float


@dataclass(frozen=True)
class Rungs:
    """The rungs of a search.

    Attributes:
        brackets: Of its strategy.
        direction: Which end of the metric is best: "minimize" or "maximize".
    """

    brackets: Brackets
    direction: str

    def enter(self, transaction: Transaction, number: int, level: int, metric: float | None) -> None:
        """Record that a trial ended at a rung: with this metric, or by a failure, which counts and ranks
        worst.

        What failed and is run again counts once, by its last end.
        """
        rung = {"bracket": self.brackets.bracket(number), "level": level}
        n_forgotten = transaction.change("forget_failure", trial=number, level=level)
        transaction.change("enter_rung", **rung, n=1 - n_forgotten)
        transaction.change("enter_standing", **rung, trial=number, score=self.score(metric))
        self._settle_top(transaction, rung)

    def promote(self, transaction: Transaction, number: int) -> None:
        """Record a promotion."""
        level = self._level(transaction, number)
        transaction.change("set_promoted", trial=number, level=level)
        transaction.change("count_promoted", bracket=self.brackets.bracket(number), level=level)

    def affords(self, transaction: Transaction, number: int, n_trials: int, limit: float | None) -> bool:
        """Return whether the resource limit allows the next rung of a trial, or a new one."""
        if limit is None:
            return True
        bracket = self.brackets.bracket(number)
        level = bracket if number == n_trials else self._level(transaction, number) + 1
        return self.used(transaction, n_trials) + self.brackets.cost(bracket, level) <= limit

    def used(self, transaction: Transaction, n_trials: int) -> Resource:
        """Return the resource used by all evaluations ever begun, of the first trials."""
        rows = transaction.rows("rungs")
        promoted = {(row["bracket"], row["level"]): row["n_promoted"] for row in rows if row["n_promoted"]}
        return self.brackets.used(n_trials, promoted)

    def expected(self, transaction: Transaction, n_trials: int) -> Resource:
        """Return what this many trials use if one in `eta` is promoted wherever not more are already."""
        found = {(row["bracket"], row["level"]): row["n_promoted"] for row in transaction.rows("rungs")}
        for row in transaction.rows("promotable_by_rung"):
            found[row["bracket"], row["level"]] += row["n"]
        return self.brackets.expected(n_trials, found)

    def score(self, metric: float | None) -> float | None:
        """Return the metric with the lowest as the best; None ranks worst, and is never promoted."""
        if metric is None or math.isnan(metric):
            return None
        return float(metric if self.direction == "minimize" else -metric)

    def _level(self, transaction: Transaction, number: int) -> int:
        return int(transaction.value("level_of_trial", number=number) or 0)

    def _settle_top(self, transaction: Transaction, rung: dict[str, int]) -> None:
        n_ended, n_top = transaction.rows("rung", **rung)[0]
        best = transaction.row("best_of_rest", **rung)
        if best and n_top < self.brackets.n_top(n_ended, rung["level"]):
            transaction.change("set_top", place=best["place"], is_top=1)
            transaction.change("count_top", **rung)
            return  # a new trial displaces one at most
        worst = transaction.row("worst_of_top", **rung)
        if best and worst and tuple(best)[::-1] < tuple(worst)[::-1]:
            transaction.change("set_top", place=best["place"], is_top=1)
            transaction.change("set_top", place=worst["place"], is_top=0)
