"""The ledger's tables: made, recognized, and brought up from the schemas of older versions."""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from dahps_core.errors import LedgerVersionError
from dahps_core.ledger.connection import Transaction
from dahps_core.ledger.statements import statements
from dahps_core.ledger.storage import damaged, not_a_ledger

log = logging.getLogger(__name__)

APPLICATION_ID = 0x44414850  # "DAHP", in the file's header
SCHEMA_VERSION = 4

_SCHEMA = statements("schema.sql")
_UPGRADES = {old: statements(f"upgrade_{old}.sql") for old in range(1, SCHEMA_VERSION)}


def make_tables(transaction: Transaction) -> None:
    """The tables of an empty ledger."""
    for statement in _SCHEMA.values():
        transaction.execute(statement)
    # A PRAGMA takes no parameters; both numbers are constants of ours.
    transaction.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    transaction.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def is_empty(transaction: Transaction, path: Path) -> bool:
    """Whether nobody has written to the file yet.

    Raises:
        NotALedgerError: Somebody else has.
        LedgerVersionError: A newer version of DAHPS has.
        LedgerDamagedError: The tables are not those that DAHPS makes.
    """
    application_id = transaction.value("application_id")
    # To SQLite a file of a few bytes is an empty database; to whoever wrote it, it is not.
    if application_id == 0 and transaction.value("n_tables") == 0 and path.stat().st_size == 0:
        return True
    if application_id != APPLICATION_ID:
        raise not_a_ledger(path, "the database is not a ledger")
    schema = version(transaction)
    if schema > SCHEMA_VERSION:
        raise LedgerVersionError(
            f"the ledger has schema {schema}, this DAHPS knows schemas up to {SCHEMA_VERSION}",
            where=str(path),
            mend="Use the version of DAHPS that wrote it last, or another ledger folder",
        )
    if schema == SCHEMA_VERSION and (missing := _missing_of_schema(transaction)):
        raise damaged(f"its schema lacks {', '.join(missing)}", path)
    return False


def _missing_of_schema(transaction: Transaction) -> list[str]:
    """The tables, indexes and triggers that are not there as this version makes them."""
    kept = {row["sql"] for row in transaction.rows("schema")}
    return [name for name, statement in _SCHEMA.items() if statement.rstrip(";") not in kept]


def is_old(transaction: Transaction) -> bool:
    """Whether an older version of DAHPS wrote the ledger."""
    return version(transaction) in _UPGRADES


def upgrade(transaction: Transaction, path: Path) -> None:
    """Bring a ledger of an older version up to this one; a copy of the old one is kept beside it."""
    old = version(transaction)
    kept = _keep_copy(path, old)
    steps = _UPGRADES[old]
    for name, statement in steps.items():
        if name.startswith("take_"):
            transaction.execute(statement)
    make_tables(transaction)
    for name, statement in steps.items():
        if name.startswith("put_"):
            transaction.execute(statement)
    log.warning("The ledger is upgraded to schema %d; the old one is kept as %s.", SCHEMA_VERSION, kept)


def _keep_copy(path: Path, schema: int) -> Path:
    kept = path.with_name(f"{path.stem}-schema{schema}{path.suffix}")
    half = kept.with_suffix(".half")
    half.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(half)) as copy:
        source.backup(copy)
    os.replace(half, kept)
    return kept


def version(transaction: Transaction) -> int:
    """The schema's."""
    return int(transaction.value("schema_version") or 0)
