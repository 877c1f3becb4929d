"""What people who watch a search read of its ledger: workers, progress, the attempts of a trial."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dahps_core.ledger.sqlite.database import Transaction
from dahps_core.ledger.views.trial_rows import WorkerRecord

#: Number of the newest trials searched for the last ends, and number of ends returned.
_LOOKED_THROUGH = 5000
_ENDS = 300


@dataclass(frozen=True)
class PresentWorker:
    """A worker that has not left, as far as recorded.

    Attributes:
        trial: The number of its current trial.
        is_stopped: Whether its multirun's workers are to end.
    """

    record: WorkerRecord
    trial: int | None
    is_stopped: bool


@dataclass(frozen=True)
class End:
    """How a trial ended lately.

    Attributes:
        ended_at: Seconds since the epoch by its worker's clock.
        error: The last line of it; None if the trial finished.
        level: Where it ended; 0 without levels.
    """

    number: int
    ended_at: float
    host: str
    error: str | None
    level: int = 0


@dataclass(frozen=True)
class AttemptRecord:
    """One execution of a trial; times are seconds since the epoch by its worker's clock.

    Attributes:
        state: "running", "finished", "failed", "released", "died", "lost" or "cancelled".
        run: The multirun that it belonged to.
        log: The files that its job logs to, one a line, if they are known.
    """

    attempt: int
    state: str
    started_at: float
    ended_at: float | None
    output_dir: str | None
    error: str | None
    level: int
    metric: float | None
    run: str
    host: str
    pid: int
    job: str | None
    log: str | None


def present_workers(transaction: Transaction) -> list[PresentWorker]:
    """Return the workers that run or wait, in the order of registration."""
    found = []
    for row in transaction.rows("present_workers"):
        worker = WorkerRecord(**{name: row[name] for name in WorkerRecord.__dataclass_fields__})
        found.append(PresentWorker(worker, row["trial"], bool(row["is_stopped"])))
    return found


def last_ends(transaction: Transaction) -> list[End]:
    """Return how the last trials ended, the latest first."""
    rows = transaction.rows("last_ends", looked_through=_LOOKED_THROUGH, limit=_ENDS)
    return [
        End(
            row["number"],
            row["ended_at"],
            row["host"],
            None if row["state"] == "finished" else _last_line(row["error"] or row["state"]),
            row["level"],
        )
        for row in rows
    ]


def _last_line(error: str) -> str:
    return next((line.strip() for line in reversed(error.splitlines()) if line.strip()), "")


def attempts(transaction: Transaction, number: int) -> list[AttemptRecord]:
    """Return all executions of a trial, the first one first."""
    return [
        AttemptRecord(
            **{
                **{name: row[name] for name in AttemptRecord.__dataclass_fields__},
                "metric": math.nan if row["metric_is_nan"] else row["metric"],
            }
        )
        for row in transaction.rows("attempts_of", number=number)
    ]
