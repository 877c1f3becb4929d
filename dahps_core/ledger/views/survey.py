"""What reports of a whole search read of its ledger: much of it, by pages, in short reads."""

from __future__ import annotations

import json
import math
import sqlite3
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from dahps_core.ledger.sqlite.database import Database, Transaction
from dahps_core.ledger.sqlite.storage_errors import damaged
from dahps_core.ledger.views.trial_rows import TRIALS_PER_PAGE, counts
from dahps_core.model.records import TrialState

#: Small rows, so that more of them are read at once.
_MARKS_PER_PAGE = 20_000


@dataclass(frozen=True)
class AttemptSpan:
    """When and where an attempt ran, and how it ended; times are seconds since the epoch, by its worker.

    Attributes:
        level: At which the trial was evaluated; 0 if the strategy has none.
        outcome: "running", "finished", "failed", "released", "lost", "cancelled", or "died": seen by its own
            worker.
        metric: The objective, if it finished with one.
        worker: The worker's id.
        place: The worker's host, process and job.
    """

    trial: int
    attempt: int
    level: int
    outcome: str
    started_at: float
    ended_at: float | None
    metric: float | None
    worker: str
    place: str


class Improvement(NamedTuple):
    """A trial that was better than all before it when it finished; ordered by that time.

    Attributes:
        ended_at: Seconds since the epoch, by its worker's clock.
        score: The lowest is best; it counts the level first.
    """

    ended_at: float
    trial: int
    attempt: int
    score: tuple[int, float]
    metric: float


def marks(database: Database, first: int) -> Iterator[tuple[int, int, str]]:
    """See `LedgerReader.marks`."""
    while True:
        page = database.read(partial(_marks, first=first))
        yield from page
        if len(page) < _MARKS_PER_PAGE:
            return
        first = page[-1][0] + 1


def _marks(transaction: Transaction, first: int) -> list[tuple[int, int, str]]:
    rows = transaction.rows("trial_marks", first=first, limit=_MARKS_PER_PAGE)
    return [(row["number"], row["attempts"], row["state"]) for row in rows]


def attempts(database: Database, numbers: Sequence[int], top: int) -> Iterator[AttemptSpan]:
    """Yield the attempts of some trials, by trial and attempt; each page is consistent in itself.

    Raises:
        LedgerDamagedError: One is above the top level.
    """
    for first in range(0, len(numbers), TRIALS_PER_PAGE):
        page = json.dumps(list(numbers[first : first + TRIALS_PER_PAGE]))
        for row in database.read(partial(_attempts, numbers=page)):
            if row["level"] > top:
                raise damaged(
                    f"trial {row['trial']}: it is at level {row['level']}, and the highest is {top}"
                )
            yield _attempt(row)


def _attempts(transaction: Transaction, numbers: str) -> list[sqlite3.Row]:
    return transaction.rows("attempts_among", numbers=numbers)


def _attempt(row: sqlite3.Row) -> AttemptSpan:
    return AttemptSpan(
        trial=row["trial"],
        attempt=row["attempt"],
        level=row["level"],
        outcome=row["outcome"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        metric=math.nan if row["metric_is_nan"] else row["metric"],
        worker=row["worker"],
        place=f"{row['host']}:{row['pid']}" + (f" job {row['job']}" if row["job"] else ""),
    )


def improvements(database: Database, n_trials: int, direction: str) -> list[Improvement]:
    """Return each finite metric that was better than all before it, the earliest first.

    A metric at a higher level is better than any below. Only these few are kept while the trials are read, in
    whatever order.
    """
    sign = 1 if direction == "minimize" else -1
    found: list[Improvement] = []
    for first in range(0, n_trials, _MARKS_PER_PAGE):
        last = min(first + _MARKS_PER_PAGE, n_trials) - 1
        for row in database.read(partial(_measured_ends, first=first, last=last)):
            number, attempt, level, metric, ended_at = row
            score = (-level, sign * metric)
            # Nearly all end here: a million trials make a few improvements.
            if found and ended_at > found[-1].ended_at and score >= found[-1].score:
                continue
            if math.isfinite(metric):
                _enter(found, Improvement(ended_at, number, attempt, score, metric))
    return found


def _measured_ends(transaction: Transaction, first: int, last: int) -> list[sqlite3.Row]:
    return transaction.rows("measured_ends", first=first, last=last)


def _enter(found: list[Improvement], new: Improvement) -> None:
    place = bisect_left(found, new)
    if place and found[place - 1].score <= new.score:
        return
    end = place
    while end < len(found) and found[end].score >= new.score:
        end += 1
    found[place:end] = [new]


def n_unmeasured(transaction: Transaction) -> int:
    """Return how many trials have finished without a finite metric."""
    largest = sys.float_info.max
    n_measured = transaction.value("n_measured", least=-largest, most=largest)
    return counts(transaction)[TrialState.FINISHED] - int(n_measured or 0)


def histories(transaction: Transaction, numbers: Iterable[int]) -> dict[int, dict[int, float]]:
    """See `LedgerReader.histories`."""
    found: dict[int, dict[int, float]] = {}
    for row in transaction.rows("histories_among", numbers=json.dumps(list(numbers))):
        metric = math.nan if row["metric_is_nan"] else row["metric"]
        found.setdefault(row["trial"], {})[row["step"]] = metric
    return found
