"""Queries of the ledger: counts, trials, workers. Each read is one consistent view."""

from __future__ import annotations

import json
import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from dahps_core.ledger.sqlite.database import Database, Transaction
from dahps_core.ledger.sqlite.row_types import Misfit
from dahps_core.ledger.sqlite.storage_errors import damaged
from dahps_core.model.combination import Combination
from dahps_core.model.records import TrialRecord, TrialState
from dahps_core.strategies.brackets import Brackets, Resource
from dahps_core.text.json_text import UnreadableJSON, parse_json

#: So that no reader keeps writers waiting for long.
TRIALS_PER_PAGE = 1000

#: Number of trials searched for those that have finished last.
_LOOKED_THROUGH = 5000


@dataclass(frozen=True)
class WorkerRecord:
    """One worker as the ledger holds it; the times are seconds since the epoch by the worker's clock.

    Attributes:
        run: The multirun that started it.
        job: The id of its batch job, if it has one.
        log: The files that its job logs to, one a line, if they are known.
        state: "working", "waiting" or "left"; of a worker that died unnoticed, its last state.
    """

    id: str
    run: str
    host: str
    pid: int
    job: str | None
    log: str | None
    state: str
    started_at: float
    ended_at: float | None


@dataclass(frozen=True)
class RunRecord:
    """How a multirun went.

    Attributes:
        has_finished: Whether one of its trials finished with a metric that is a number.
        n_failed: How many of its attempts failed, or finished with NaN.
        n_nan: How many of these finished with NaN; counted until `has_finished`.
        first_failure: The first of them: the trial's number, and the error.
        is_stopped: Whether a person ended its workers.
    """

    has_finished: bool
    n_failed: int
    first_failure: tuple[int, str] | None
    is_stopped: bool
    n_nan: int = 0


@dataclass(frozen=True)
class RungRecord:
    """One level of resource.

    Attributes:
        n_ended: How many trials ended there; failures count.
        n_promoted: How many of them were promoted to the next level.
    """

    resource: Resource
    n_ended: int
    n_promoted: int


def counts(transaction: Transaction) -> dict[TrialState, int]:
    """Return how many trials are in each state; the sum is the number of trials drawn."""
    row = transaction.rows("counts")[0]
    return {state: int(row[state.value]) for state in TrialState}


def n_drawn(transaction: Transaction) -> int:
    """Return how many trials there are, for readers that go through all numbers.

    Raises:
        LedgerDamagedError: The numbers are not dense: a single wrong one is up to 2^63.
    """
    n_numbers, n_rows = transaction.rows("n_numbers_and_rows")[0]
    if n_numbers != n_rows:
        raise damaged(f"its {n_rows:,} trials have numbers up to {n_numbers - 1:,}")
    return int(n_rows)


def trials(database: Database, first: int, brackets: Brackets | None) -> Iterator[TrialRecord]:
    """Yield the trials from a number on, a page at a time: each page is consistent in itself."""
    while True:
        page = trials_among(database, range(first, first + TRIALS_PER_PAGE), brackets)
        yield from page
        if len(page) < TRIALS_PER_PAGE:
            return
        first += TRIALS_PER_PAGE


def trials_among(database: Database, numbers: Iterable[int], brackets: Brackets | None) -> list[TrialRecord]:
    """Return the existing ones among some trials: few enough for one short read."""
    # Records are made of the rows after the read: a reader keeps writers from committing.
    return records(*database.read(partial(rows_among, numbers=numbers, brackets=brackets)), brackets)


def rows_among(
    transaction: Transaction, numbers: Iterable[int], brackets: Brackets | None
) -> tuple[list[sqlite3.Row], list[sqlite3.Row]]:
    """Return the rows of some trials, by number, and those of the levels that they were promoted from."""
    wanted = json.dumps(list(numbers))
    results = transaction.rows("results_of_levels", numbers=wanted) if brackets else []
    return transaction.rows("trials_among", numbers=wanted), results


def records(
    rows: list[sqlite3.Row], results: list[sqlite3.Row], brackets: Brackets | None
) -> list[TrialRecord]:
    """Return the records of what `rows_among` read."""
    found = [record(row) for row in rows]
    if not brackets:
        return found
    metrics: dict[int, dict[int, float | None]] = defaultdict(dict)
    levels = [(row["trial"], row["level"]) for row in results] + [(one.number, one.level) for one in found]
    for number, level in levels:
        if level > brackets.top:
            raise damaged(f"trial {number}: it is at level {level}, and the highest is {brackets.top}")
    for row in results:
        metrics[row["trial"]][row["level"]] = metric_of(row)
    for one in found:
        if one.state is TrialState.FINISHED:
            metrics[one.number][one.level] = one.metric
    return [
        replace(one, resource=brackets.resource(one.number, one.level), metrics=metrics[one.number])
        for one in found
    ]


def trial(transaction: Transaction, number: int) -> TrialRecord:
    """Return an existing trial of a strategy without rungs."""
    found = records(*rows_among(transaction, [number], None), None)
    if not found:
        raise Misfit(f"trial {number} is not there")
    return found[0]


def rungs(transaction: Transaction, brackets: Brackets) -> list[RungRecord]:
    """Return how many trials ended at each rung, and how many were promoted, over all brackets."""
    rows = transaction.rows("rungs")
    return [
        RungRecord(
            resource,
            sum(row["n_ended"] for row in rows if row["level"] == level),
            sum(row["n_promoted"] for row in rows if row["level"] == level),
        )
        for level, resource in enumerate(brackets.levels)
    ]


def history(transaction: Transaction, number: int) -> list[tuple[int, int, float]]:
    """Return what a trial's attempts reported: (attempt, step, metric), by attempt and step."""
    rows = transaction.rows("history", number=number)
    return [
        (row["attempt"], row["step"], math.nan if row["metric_is_nan"] else row["metric"]) for row in rows
    ]


def last_histories(transaction: Transaction, n_trials: int) -> list[dict[int, float]]:
    """Step -> metric, of the last finished trials that reported any."""
    rows = transaction.rows("last_histories", limit=n_trials, looked_through=_LOOKED_THROUGH)
    found: dict[int, dict[int, float]] = defaultdict(dict)
    for row in rows:
        found[row["trial"]][row["step"]] = math.nan if row["metric_is_nan"] else row["metric"]
    return list(found.values())


def worker_counts(transaction: Transaction) -> dict[str, int]:
    """Return how many workers run, wait and have left; those that died unnoticed count as running
    or waiting.
    """
    found = {row["state"]: int(row["n"]) for row in transaction.rows("worker_counts")}
    return {state: found.get(state, 0) for state in ("working", "waiting", "left")}


def workers(transaction: Transaction, run: str) -> list[WorkerRecord]:
    """Return the workers of a multirun, in the order of registration."""
    return [_worker(row) for row in transaction.rows("workers", run=run)]


def last_worker_of_batch(transaction: Transaction, batch: str | None) -> WorkerRecord | None:
    """Return the last worker of a batch job, if it had one."""
    row = transaction.row("last_worker_of_batch", batch=batch)
    return None if row is None else _worker(row)


def run(transaction: Transaction, run: str) -> RunRecord:
    """Return the progress of a multirun; zeros if none of its workers is known."""
    row = transaction.row("run", run=run)
    if row is None:
        return RunRecord(has_finished=False, n_failed=0, first_failure=None, is_stopped=False)
    failure = transaction.row("first_failure", run=run) if row["n_failed"] else None
    first = (failure["trial"], str(failure["error"])) if failure else None
    is_early = row["n_failed"] and not row["has_finished"]
    n_nan = int(transaction.value("n_nan", run=run) or 0) if is_early else 0
    return RunRecord(bool(row["has_finished"]), row["n_failed"], first, bool(row["is_stopped"]), n_nan)


def record(row: sqlite3.Row) -> TrialRecord:
    """Return the record of a trial with its last attempt.

    Raises:
        LedgerDamagedError: The row has invalid contents.
    """
    try:
        return _record(row)
    except UnreadableJSON as error:
        raise damaged(f"trial {row['number']}: {error}") from error


def _record(row: sqlite3.Row) -> TrialRecord:
    return TrialRecord(
        number=row["number"],
        combination=Combination.from_json(row["combination"]),
        repetition=row["repetition"],
        state=TrialState.LOST if row["state"] == "died" else TrialState(row["state"]),
        attempts=row["attempts"],
        metric=metric_of(row),
        result=None if row["result"] is None else parse_json(row["result"]),
        output_dir=row["output_dir"],
        worker=row["host"] and f"{row['host']}:{row['pid']}" + (f" job {row['job']}" if row["job"] else ""),
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        error=row["error"],
        level=row["level"],
        run=row["run"],
    )


def metric_of(row: sqlite3.Row) -> float | None:
    """Return the metric of a row; SQLite has no NaN."""
    return math.nan if row["metric_is_nan"] else row["metric"]


def _worker(row: sqlite3.Row) -> WorkerRecord:
    return WorkerRecord(**dict(row))
