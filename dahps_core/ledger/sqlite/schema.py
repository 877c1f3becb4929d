"""The ledger's tables: made, recognized, and brought up from the schemas of older versions."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from dahps_core.errors import LedgerVersionError
from dahps_core.ledger.sqlite.database import Transaction
from dahps_core.ledger.sqlite.statements import statements
from dahps_core.ledger.sqlite.storage_errors import damaged, not_a_ledger

log = logging.getLogger(__name__)

APPLICATION_ID = 0x44414850  # "DAHP", in the file's header
SCHEMA_VERSION = 5

_SCHEMA = statements("schema.sql")
_TABLES = [name for name, statement in _SCHEMA.items() if statement.startswith("CREATE TABLE")]
#: In which schema a table or a column came, if not in the first.
_SINCE = {
    **dict.fromkeys(["run"], 2),
    **dict.fromkeys(["pause", "run.is_stopped", "run.is_to_release", "trial.pardoned"], 3),
    **dict.fromkeys(["space.is_branch", "space.n_enqueued", "worker.log", "worker.branch"], 3),
    **dict.fromkeys(["report", "rung", "standing", "meta.brackets", "worker.batch", "trial.level"], 4),
    **dict.fromkeys(["attempt.level", "attempt.metric", "attempt.metric_is_nan", "attempt.result"], 4),
    **dict.fromkeys(["meta.is_uniform", "space.n_between"], 5),
}
#: By the schema that is upgraded: what fills the tables whose columns of that time are not enough.
_FILLINGS = {1: statements("upgrade_1.sql")}


def make_tables(transaction: Transaction) -> None:
    """Create the tables of an empty ledger."""
    for statement in _SCHEMA.values():
        transaction.execute(statement)
    # A PRAGMA takes no parameters; both numbers are constants.
    transaction.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    transaction.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def is_empty(transaction: Transaction, path: Path) -> bool:
    """Return whether nothing has been written to the file yet.

    Raises:
        NotALedgerError: Another program has written to it.
        LedgerVersionError: A newer version of DAHPS has.
        LedgerDamagedError: The tables are not those that DAHPS makes.
    """
    application_id = transaction.value("application_id")
    # To SQLite a file of a few bytes is an empty database; to the program that wrote it, it is not.
    if application_id == 0 and transaction.value("n_tables") == 0 and path.stat().st_size == 0:
        return True
    if application_id != APPLICATION_ID:
        raise not_a_ledger(path, "the database is not a ledger")
    schema = version(transaction)
    if schema > SCHEMA_VERSION:
        raise LedgerVersionError(
            f"the ledger has schema {schema}, this DAHPS supports schemas up to {SCHEMA_VERSION}",
            where=str(path),
            hint="Use the version of DAHPS that wrote it last, or another ledger folder",
        )
    if schema == SCHEMA_VERSION and (missing := _missing_of_schema(transaction)):
        raise damaged(f"its schema lacks {', '.join(missing)}", path)
    return False


def _missing_of_schema(transaction: Transaction) -> list[str]:
    """Return the tables, indexes and triggers of this version that are missing."""
    kept = {row["sql"] for row in transaction.rows("schema")}
    return [name for name, statement in _SCHEMA.items() if statement.rstrip(";") not in kept]


def foreign_of_schema(transaction: Transaction) -> list[str]:
    """Return the tables, indexes and triggers that no version makes; SQLite's own are none."""
    rows = transaction.rows("schema_objects")
    return [
        f"{row['type']} {row['name']}"
        for row in rows
        if row["sql"] not in {statement.rstrip(";") for statement in _SCHEMA.values()}
    ]


def is_old(transaction: Transaction) -> bool:
    """Return whether an older version of DAHPS wrote the ledger."""
    return 1 <= version(transaction) < SCHEMA_VERSION


def upgrade(transaction: Transaction, path: Path) -> None:
    """Bring a ledger of an older version up to this one; a copy of the old one is kept beside it."""
    old = version(transaction)
    kept = _keep_copy(path, old)
    tables = [table for table in _TABLES if _SINCE.get(table, 1) <= old]
    _take_out(transaction, tables)
    make_tables(transaction)
    fillings = {table: _put_back(transaction, table, old) for table in tables} | _FILLINGS.get(old, {})
    for table in _TABLES:
        if table in fillings:
            transaction.execute(fillings[table])
    for table in tables:
        transaction.execute(f"DROP TABLE temp.old_{table}")
    log.warning("The ledger is upgraded to schema %d; the old one is kept as %s.", SCHEMA_VERSION, kept)


# No parameter of a statement can be a name: all names here are those of our own schema.


def _take_out(transaction: Transaction, tables: Sequence[str]) -> None:
    for table in tables:
        transaction.execute(f"CREATE TEMP TABLE old_{table} AS SELECT * FROM main.{table}")
    for table in reversed(tables):  # no row may refer to one that is gone
        transaction.execute(f"DROP TABLE main.{table}")


def _put_back(transaction: Transaction, table: str, old: int) -> str:
    names = [row["name"] for row in transaction.execute(f"PRAGMA main.table_info({table})")]
    columns = ", ".join(name for name in names if _SINCE.get(f"{table}.{name}", 1) <= old)
    return f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM temp.old_{table}"


def _keep_copy(path: Path, schema: int) -> Path:
    kept = path.with_name(f"{path.stem}-schema{schema}{path.suffix}")
    half = kept.with_suffix(".half")
    half.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(half)) as copy:
        source.backup(copy)
    os.replace(half, kept)
    return kept


def version(transaction: Transaction) -> int:
    """Return the schema's version."""
    return int(transaction.value("schema_version") or 0)
