"""What the ledger tells to those who watch or report a whole search: much of it, by pages, in short reads."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from dahps_core.ledger.connection import Database, Transaction
from dahps_core.ledger.reading import TRIALS_PER_PAGE
from dahps_core.ledger.storage import damaged

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


def attempts(database: Database, n_trials: int, top: int) -> Iterator[AttemptSpan]:
    """Yield the attempts of the first trials, by trial and attempt; each page is consistent in itself.

    Raises:
        LedgerDamagedError: One is above the top level.
    """
    for first in range(0, n_trials, TRIALS_PER_PAGE):
        last = min(first + TRIALS_PER_PAGE, n_trials) - 1
        for row in database.read(partial(_attempts, first=first, last=last)):
            if row["level"] > top:
                raise damaged(
                    f"trial {row['trial']}: it is at level {row['level']}, and the highest is {top}"
                )
            yield _attempt(row)


def _attempts(transaction: Transaction, first: int, last: int) -> list[sqlite3.Row]:
    return transaction.rows("attempts_between", first=first, last=last)


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


def histories(transaction: Transaction, numbers: Iterable[int]) -> dict[int, dict[int, float]]:
    """See `LedgerReader.histories`."""
    found: dict[int, dict[int, float]] = {}
    for row in transaction.rows("histories_among", numbers=json.dumps(list(numbers))):
        metric = math.nan if row["metric_is_nan"] else row["metric"]
        found.setdefault(row["trial"], {})[row["step"]] = metric
    return found
