"""A database in which a storage is tried out, written as the ledger writes: same locks, gate and journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from dahps_core.errors import LedgerDamagedError
from dahps_core.ledger.sqlite.database import Database, Transaction
from dahps_core.ledger.sqlite.statements import statements

T = TypeVar("T")

_STATEMENTS = statements("probe.sql")


class Probe:
    """One process's access to the database.

    Args:
        path: The file.
        patience_s: How long to wait for locks without a write by others.
        create: Whether the file is made, with its table.
    """

    def __init__(self, path: Path, *, patience_s: float, create: bool = False) -> None:
        self._database = Database(path, patience_s=patience_s, create=create)
        if create:
            self._write("make")

    def insert(self, process: int, number: int) -> None:
        """Insert one row in a short transaction."""
        self._write("insert", process=process, number=number)

    def count(self) -> int:
        """Return how many rows were inserted."""
        return int(str(self._read("count")))

    def integrity(self) -> str:
        """Return what SQLite finds wrong with the file; "ok" if nothing."""
        return str(self._read("integrity"))

    def close(self) -> None:
        """Give the file back."""
        self._database.close()

    def _write(self, name: str, **parameters: int) -> None:
        self._reporting_damage(
            lambda: self._database.write(
                lambda transaction: transaction.execute(_STATEMENTS[name], {**parameters})
            )
        )

    def _read(self, name: str) -> object:
        def first_value(transaction: Transaction) -> object:
            return transaction.execute(_STATEMENTS[name]).fetchone()[0]

        return self._reporting_damage(lambda: self._database.read(first_value))

    def _reporting_damage(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sqlite3.Error as error:  # these statements cannot be wrong: the file is
            raise LedgerDamagedError(str(error), where=str(self._database.path)) from error
