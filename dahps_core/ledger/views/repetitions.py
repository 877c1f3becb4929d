"""The best of combinations that are evaluated several times: by their mean, so that luck does not win."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from dahps_core.ledger.sqlite.database import Transaction
from dahps_core.ledger.views import ranking, trial_rows
from dahps_core.model.records import Average, TrialRecord
from dahps_core.strategies.search import Search
from dahps_core.text.plural import counted

#: Trials are looked at in pages that grow: as a rule the first one is enough.
_FIRST_PAGE = 100
_GROWTH = 4


@dataclass(frozen=True)
class LeftOut:
    """How many combinations do not rank because a repetition of theirs has no metric, by the reason.

    Attributes:
        unfinished: A repetition runs, or is still to run.
        failed: All have ended, and one failed, was lost or cancelled.
        unmeasured: All have finished, and one has a metric of NaN or none, or their mean is NaN.
    """

    unfinished: int
    failed: int
    unmeasured: int

    def __bool__(self) -> bool:
        return bool(self.unfinished or self.failed or self.unmeasured)

    def __str__(self) -> str:
        reasons = [
            f"{n:,} with {what}"
            for n, what in (
                (self.unfinished, "repetitions still to run"),
                (self.failed, "a failed, lost or cancelled repetition"),
                (self.unmeasured, "a repetition whose metric is NaN or missing"),
            )
            if n
        ]
        n_all = self.unfinished + self.failed + self.unmeasured
        return f"{counted(n_all, 'incomplete combination')} left out: {', '.join(reasons)}"


def is_by_mean(search: Search) -> bool:
    """Return whether combinations are ranked by the mean of their repetitions; with rungs each trial is."""
    return search.space.repetitions > 1 and not search.brackets


def best_by_mean(
    transaction: Transaction, search: Search, n_best: int, *, incomplete: bool = False
) -> list[TrialRecord]:
    """Return the best repetition, with its average, of each of the combinations with the best means.

    Args:
        transaction: On the ledger.
        search: What it is a ledger of.
        n_best: How many combinations.
        incomplete: Whether combinations rank of which only some repetitions have a metric, by the mean of
            these.
    """
    return [
        replace(trial_rows.trial(transaction, number), average=average)
        for number, average in _best_means(transaction, search, n_best, incomplete=incomplete)
    ]


def left_out(transaction: Transaction, search: Search) -> LeftOut:
    """Count the combinations that do not rank, of those that have a trial."""
    row = transaction.row("incomplete_combinations", repetitions=search.space.repetitions)
    return LeftOut(*(n or 0 for n in row or (0, 0, 0)))


def finished_beyond_best_means(
    transaction: Transaction, search: Search, numbers: Iterable[int], n_best: int, max_attempts: int | None
) -> list[int]:
    """Return those among some trials that are finished, and can be of none of the best combinations.

    As long as a repetition may run, be it again, its combination may still become one of them.

    Args:
        transaction: On the ledger.
        search: What it is a ledger of.
        numbers: Of the trials.
        n_best: How many combinations are the best ones.
        max_attempts: How often a trial may run; None: unknown, and each that failed may run again.
    """
    best = {
        number
        for one, _ in _best_means(transaction, search, n_best)
        for number, _ in _measured(transaction, search, one)
    }
    rows = transaction.rows(
        "finished_of_repeated",
        numbers=json.dumps(list(numbers)),
        repetitions=search.space.repetitions,
        max_attempts=2**62 if max_attempts is None else max_attempts,
    )
    return [row["number"] for row in rows if row["number"] not in best]


def _best_means(
    transaction: Transaction, search: Search, n_best: int, *, incomplete: bool = False
) -> list[tuple[int, Average]]:
    """Return (best repetition, average) of each of the combinations with the best means, the best first.

    Of equal means the one with the better repetition wins, and then the lower number.

    No mean is better than the best metric in it. So the trials are looked at from the best metric on, and no
    longer than one of them could be in a better mean.
    """
    repetitions = search.space.repetitions
    sign = 1 if search.direction == "minimize" else -1
    found: list[tuple[int, Average]] = []
    seen: set[int] = set()
    for number, score in _from_the_best(transaction, search, incomplete=incomplete):
        if len(found) == n_best and score >= sign * found[-1][1].mean:
            break
        if number in seen:
            continue
        measured = _measured(transaction, search, number)
        seen.update(one for one, _ in measured)
        average = Average.of([metric for _, metric in measured], repetitions)
        if not math.isnan(average.mean):
            found = sorted([*found, (number, average)], key=lambda one: sign * one[1].mean)[:n_best]
    return found


def _measured(transaction: Transaction, search: Search, number: int) -> list[tuple[int, float]]:
    """Return number and metric of the repetitions of a trial's combination that have a metric."""
    rows = transaction.rows("metrics_of_repetitions", number=number, repetitions=search.space.repetitions)
    return [(row["number"], row["metric"]) for row in rows]


def _from_the_best(
    transaction: Transaction, search: Search, *, incomplete: bool
) -> Iterator[tuple[int, float]]:
    """Yield number and score of the trials that rank, the best one first."""
    after, size = None, _FIRST_PAGE
    while page := ranking.ranked(transaction, search, size, after):
        numbers = [one.number for one in page]
        counted = set(numbers if incomplete else _complete_among(transaction, search, numbers))
        yield from ((one.number, one.score) for one in page if one.number in counted)
        after, size = page[-1], size * _GROWTH


def _complete_among(transaction: Transaction, search: Search, numbers: Iterable[int]) -> list[int]:
    """Return those among some trials of whose combination each repetition has a metric."""
    wanted, repetitions = json.dumps(list(numbers)), search.space.repetitions
    rows = transaction.rows("complete_among", numbers=wanted, repetitions=repetitions)
    return [row["number"] for row in rows]
