"""The one place that talks to SQLite: connections, transactions, patience with locks, errors that help."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from dahps_core.errors import LedgerError, LedgerUnavailableError, NotALedgerError
from dahps_core.ledger.gate import gate_at
from dahps_core.ledger.statements import statements

SHORTEST_PAUSE_S = 0.001
LONGEST_PAUSE_S = 0.05  # jitter with this cap: p99 of a claim among 64 idle-ish processes was 0.1 s

Parameter: TypeAlias = "str | int | float | None"

_QUERIES = statements("queries.sql")

_MENDS = {
    "readonly": "Ask for write permission on the ledger's folder and its files, or use another ledger folder",
    "full": "Free some space, or raise the quota, and run the same command again: no record is lost",
    "unable to open": "See that the folder exists and may be written by you",
    "malformed": "The file is damaged: restore a copy, or start in another ledger folder",
}
_MEND_STORAGE = "See whether the storage is reachable, and run the same command again: no record is lost"

# A connection must be neither used nor closed by a forked child, so a child keeps what it inherits for ever.
_open_connections: set[sqlite3.Connection] = set()


class Transaction:
    """Statements by name, inside a transaction; one that finds the database locked is repeated."""

    def __init__(self, connection: sqlite3.Connection, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def rows(self, query: str, **parameters: Parameter) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self.execute(_QUERIES[query], parameters).fetchall()

    def row(self, query: str, **parameters: Parameter) -> sqlite3.Row | None:
        """The first row of a query."""
        rows = self.rows(query, **parameters)
        return rows[0] if rows else None

    def value(self, query: str, **parameters: Parameter) -> Parameter:
        """The first column of the first row of a query; None without one."""
        row = self.row(query, **parameters)
        found: Parameter = row[0] if row else None
        return found

    def change(self, query: str, **parameters: Parameter) -> int:
        """How many rows a statement changed."""
        return self.execute(_QUERIES[query], parameters).rowcount

    def execute(self, sql: str, parameters: dict[str, Parameter] | None = None) -> sqlite3.Cursor:
        """The cursor of a statement, repeated while the database is locked."""
        pause_s = SHORTEST_PAUSE_S
        while True:
            try:
                return self._connection.execute(sql, parameters or {})
            except sqlite3.OperationalError as error:
                if not _is_locked(error) or time.monotonic() > self._deadline:
                    raise
            time.sleep(random.uniform(0, pause_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


class Database:
    """A SQLite file that many processes on many hosts write to, one short transaction at a time.

    A thread waits while another one of its process is inside a transaction. After a fork the child must
    make a `Database` of its own. After an error of the storage the connection is opened anew.

    Args:
        path: The file.
        patience_s: How long a transaction waits for locks before it gives up.
        create: Whether a missing file is made.
    """

    def __init__(self, path: Path, *, patience_s: float, create: bool) -> None:
        self.path = path
        self._patience_s = patience_s
        self._create = create
        self._gate = gate_at(path.with_suffix(".gate"))
        self._threads = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = os.getpid()

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that sees one state of the ledger, and writes nothing."""
        with self._transaction("begin_reading") as transaction:
            yield transaction

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """A transaction of the only writer; kept if the block ends, and undone if it raises."""
        self._refuse_forked()
        with self._gate.passed(), self._transaction("begin_writing") as transaction:
            yield transaction

    def close(self) -> None:
        """Give the connection back; the next transaction opens another."""
        if self._pid != os.getpid():
            return  # it is the parent's
        with self._threads:
            if self._connection is not None:
                self._connection.close()
                _open_connections.discard(self._connection)
                self._connection = None

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Transaction]:
        self._refuse_forked()
        with self._threads, self._translating_errors():
            deadline = time.monotonic() + self._patience_s
            transaction = Transaction(self._connected(), deadline)
            try:
                transaction.change(begin)
                yield transaction
                # Readers may keep a COMMIT waiting: it is repeated, and what was written stays meanwhile.
                transaction.change("commit")
            except BaseException:
                with suppress(sqlite3.Error):
                    transaction.change("rollback")
                raise

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            mode = "rwc" if self._create else "rw"
            uri = f"file:{quote(os.fsencode(self.path))}?mode={mode}"
            connection = sqlite3.connect(
                uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False
            )
            _open_connections.add(connection)
            connection.row_factory = sqlite3.Row
            connection.execute(_QUERIES["enforce_references"])
            self._connection = connection
            self._create = False
        return self._connection

    def _refuse_forked(self) -> None:
        if self._pid != os.getpid():
            raise LedgerError(
                "the ledger was opened by the parent of this process",
                where=str(self.path),
                mend="Join or open the ledger again in the forked process",
            )

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise  # a defect of ours, not of the storage
        except sqlite3.DatabaseError as error:
            self.close()
            raise self._meaning(error) from error

    def _meaning(self, error: sqlite3.DatabaseError) -> LedgerError:
        where, text = str(self.path), str(error)
        if "not a database" in text:
            return not_a_ledger(self.path, "the file is not a ledger")
        if "unable to open" in text and not self.path.exists():
            return not_a_ledger(self.path, "there is no ledger here")
        if _is_locked(error):
            return LedgerUnavailableError(
                f"the ledger was locked for longer than {self._patience_s:g} s",
                where=where,
                mend="See whether a process that uses it is stopped, or its host unreachable",
            )
        mend = next((mend for sign, mend in _MENDS.items() if sign in text), _MEND_STORAGE)
        return LedgerUnavailableError(f"the storage refused: {text}", where=where, mend=mend)


def not_a_ledger(path: Path, what: str) -> NotALedgerError:
    """The error of a path where there is no ledger."""
    return NotALedgerError(what, where=str(path), mend="Give the folder of a ledger, or of one to be made")


def _is_locked(error: sqlite3.DatabaseError) -> bool:
    # By its text: Python 3.10 does not tell SQLite's error code.
    return "is locked" in str(error)
