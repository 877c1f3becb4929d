"""What `dahps check` finds in single cells of a ledger: what its columns cannot hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dahps_core.ledger.repair.care_queries import rows
from dahps_core.ledger.sqlite.database import Transaction
from dahps_core.ledger.sqlite.row_types import TABLES, misfits


def cells_of_small_tables(transaction: Transaction) -> list[str]:
    """Return the faults of all tables but those of trials."""
    tables = {
        "meta": "salvage_meta",
        "space": "salvage_spaces",
        "run": "salvage_runs",
        "worker": "salvage_workers",
        "pause": "pauses",
        "rung": "all_rungs",
    }
    return [
        f"{table} {row[0]!r}: {fault}"
        for table, query in tables.items()
        for row in rows(transaction, query)
        for fault in misfits(row, TABLES[table])
    ]


def cells_of_trial(
    trial: Any, attempts: list[Any], standings: list[Any], reports: list[Any]
) -> Iterator[str]:
    """Yield the faults of a trial's rows."""
    yield from misfits(trial, TABLES["trial"])
    for row in attempts:
        yield from (f"attempt {row['attempt']!r}: {fault}" for fault in misfits(row, TABLES["attempt"]))
    for row in reports:
        what = f"attempt {row['attempt']!r}, step {row['step']!r}"
        yield from (f"{what}: {fault}" for fault in misfits(row, TABLES["report"]))
    for row in standings:
        yield from (f"standing {row['place']!r}: {fault}" for fault in misfits(row, TABLES["standing"]))
