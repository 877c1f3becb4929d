"""The one place that talks to SQLite: connections, transactions, patience, errors that help."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias, TypeVar
from urllib.parse import quote

from dahps_core.errors import LedgerError, LedgerUnavailableError
from dahps_core.ledger.sqlite import write_queue
from dahps_core.ledger.sqlite.backoff import Patience
from dahps_core.ledger.sqlite.lock_folder import LockFolder, LockTakenOver
from dahps_core.ledger.sqlite.row_types import Misfit, any_text, expect_fits
from dahps_core.ledger.sqlite.statements import statements
from dahps_core.ledger.sqlite.storage_errors import damaged, is_locked, meaning, refused
from dahps_core.text.json_text import UnreadableJSON

log = logging.getLogger(__name__)

#: The longest pause in seconds between two tries to reach a storage that is gone.
LONGEST_OUTAGE_PAUSE_S = 2.0

Parameter: TypeAlias = "str | int | float | None"
T = TypeVar("T")

_QUERIES = statements("queries.sql")

# A connection must be neither used nor closed by a forked child, so a child keeps what it inherits for ever.
_open_connections: dict[sqlite3.Connection, str] = {}


def _let_go() -> None:
    """Detach a forked child: nothing that it writes to an inherited descriptor by mistake may reach
    a ledger.
    """
    paths = tuple(_open_connections.values())
    with suppress(OSError), open(os.devnull, "r+b", buffering=0) as nowhere:
        for name in os.listdir("/proc/self/fd") if paths else ():  # OSError: this is not Linux
            if os.path.realpath(f"/proc/self/fd/{name}").startswith(paths):
                os.dup2(nowhere.fileno(), int(name), inheritable=False)


os.register_at_fork(after_in_child=_let_go)


class Transaction:
    """Statements by name, inside a transaction; one that finds the database locked is repeated."""

    def __init__(self, connection: sqlite3.Connection, patience: Patience) -> None:
        self._connection = connection
        self._patience = patience

    def rows(self, query: str, **parameters: Parameter) -> list[sqlite3.Row]:
        """Return all rows of a query; raise Misfit if a cell has an invalid value."""
        found = self.execute(_QUERIES[query], parameters).fetchall()
        expect_fits(query, found)
        return found

    def row(self, query: str, **parameters: Parameter) -> sqlite3.Row | None:
        """Return the first row of a query."""
        rows = self.rows(query, **parameters)
        return rows[0] if rows else None

    def value(self, query: str, **parameters: Parameter) -> Parameter:
        """Return the first column of the first row of a query; None without one."""
        row = self.row(query, **parameters)
        found: Parameter = row[0] if row else None
        return found

    def change(self, query: str, **parameters: Parameter) -> int:
        """Return how many rows a statement changed."""
        return self.execute(_QUERIES[query], parameters).rowcount

    def execute(self, sql: str, parameters: dict[str, Parameter] | None = None) -> sqlite3.Cursor:
        """Return the cursor of a statement, repeated while the database is locked."""
        while True:
            try:
                return self._connection.execute(sql, parameters or {})
            except sqlite3.OperationalError as error:
                if not is_locked(error) or self._patience.has_ended():
                    raise
            self._patience.pause()


class Database:
    """A SQLite file that many processes on many hosts write to, one short transaction at a time.

    A thread waits while another one of its process is inside a transaction. After a fork the child must
    make a `Database` of its own. After an error of the storage the connection is opened again.

    Args:
        name: The file; or the folder of a `LockFolder`, which has the file somewhere inside.
        patience_s: How long to wait for locks, and for a storage that worked before, while no one writes.
        locking: "fcntl" or "folder": the same for all who use it.
        create: Whether a missing file is made.
        was_there: Whether the file is known to be there, so that it is waited for from the start.
        takes_any_text: Whether text that is no UTF-8 is read as well, as `any_text` does.

    Attributes:
        folder: The ledger's folder.
        path: The file; with a `LockFolder` that of the last transaction.
        locking: As given.
    """

    def __init__(
        self,
        name: Path,
        *,
        patience_s: float,
        locking: str = "fcntl",
        create: bool = False,
        was_there: bool = False,
        takes_any_text: bool = False,
    ) -> None:
        self.folder = name.parent
        self.path = name
        self.locking = locking
        self._name = name
        self._lock_folder = LockFolder(name, create=create) if locking == "folder" else None
        self._patience_s = patience_s
        self._create = create
        self._was_there = was_there
        self._takes_any_text = takes_any_text
        self._gate = write_queue.gate_at(name.with_suffix(".gate"))
        self._threads = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = os.getpid()

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Call `work` in a transaction that sees one state of the ledger, and writes nothing.

        It is called again if the storage fails meanwhile and comes back.
        """
        return self._patiently(lambda: self._locked("begin_reading", work))

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Call `work` in a transaction of the only writer; what it wrote is kept unless it raises.

        It is called again if the storage fails meanwhile and comes back: perhaps after its first call was
        kept, and only the answer to COMMIT was lost.
        """
        return self._patiently(lambda: self._locked("begin_writing", work))

    def close(self) -> None:
        """Give the connection back; the next transaction opens another."""
        if self._pid != os.getpid():
            return  # it is the parent's
        with self._threads:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
                _open_connections.pop(connection, None)

    def _locked(self, begin: str, work: Callable[[Transaction], T]) -> T:
        if self._lock_folder:
            return self._held(begin, work)
        if begin == "begin_reading":
            return self._transact(begin, work)
        return self._gate.pass_with(
            lambda: self._transact(begin, work), Patience(write_queue.PATIENCE_S, self.path).has_ended
        )

    def _held(self, begin: str, work: Callable[[Transaction], T]) -> T:
        assert self._lock_folder
        try:
            with (
                self._threads,
                self._translating_errors(begin),  # a takeover calls SQLite as well
                self._lock_folder.held(Patience(self._patience_s, self._name / "lock")) as hold,
            ):
                self.path = hold.path
                try:
                    done = self._transact(begin, work)
                except LedgerError:
                    hold.confirm()  # to a fenced process the storage seems to refuse
                    raise
                finally:
                    self.close()  # so that what was written is the next one's to see, on any host
                hold.confirm()
                return done
        except OSError as error:
            also = ", and reading requires the lock too" if begin == "begin_reading" else ""
            raise refused(self._name, error, also) from error

    def _patiently(self, transact: Callable[[], T]) -> T:
        self._refuse_forked()
        patience = Patience(self._patience_s, longest_pause_s=LONGEST_OUTAGE_PAUSE_S)
        since = None
        while True:
            try:
                done = transact()
                break
            except LedgerUnavailableError as error:
                is_to_wait = self._was_there or isinstance(error, LockTakenOver)
                if not is_to_wait or patience.has_ended():
                    raise
                if since is None:
                    since = time.monotonic()
                    log.warning("%s Waiting up to %g s.", error, self._patience_s)
            patience.pause()
        self._was_there = True
        if since is not None:
            log.warning("The ledger is back after %.0f s.", time.monotonic() - since)
        return done

    def _transact(self, begin: str, work: Callable[[Transaction], T]) -> T:
        with self._threads, self._translating_errors(begin):
            transaction = self._transaction()
            try:
                transaction.change(begin)
                done = work(transaction)
                # Readers may keep a COMMIT waiting: it is repeated, and what was written stays meanwhile.
                transaction.change("commit")
            except BaseException:
                with suppress(sqlite3.Error):
                    transaction.change("rollback")
                raise
            return done

    def _transaction(self) -> Transaction:
        """Yield a transaction that has not begun."""
        patience = Patience(self._patience_s, self.path)
        if self._connection is None:
            self._connect(patience)
        assert self._connection
        return Transaction(self._connection, patience)

    def _connect(self, patience: Patience) -> None:
        if self._create and not self._lock_folder:
            _make(self.path)
        uri = f"file:{quote(os.fsencode(self.path))}?mode={'rwc' if self._create else 'rw'}"
        if self._lock_folder:
            uri += "&nolock=1"
        connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._set_up(connection, patience)
        except BaseException:
            connection.close()  # one for each try of an outage would be too many
            raise
        _open_connections[connection] = os.path.realpath(self.path)
        self._connection = connection
        self._create = False

    def _set_up(self, connection: sqlite3.Connection, patience: Patience) -> None:
        connection.row_factory = sqlite3.Row
        if self._takes_any_text:
            connection.text_factory = any_text
        settings = Transaction(connection, patience)
        settings.change("enforce_references")
        if settings.value("journal_mode") == "wal":
            raise LedgerUnavailableError(
                "the ledger is in WAL mode, which cannot work across hosts",
                where=str(self.path),
                hint="While no process uses it, run: sqlite3 ledger.db 'PRAGMA journal_mode = DELETE'",
            )
        if not self._lock_folder:  # it relies on a journal that is thrown away
            settings.change("keep_journal")

    def _refuse_forked(self) -> None:
        if self._pid != os.getpid():
            raise LedgerError(
                "the ledger was opened by the parent of this process",
                where=str(self.path),
                hint="Join or open the ledger again in the forked process",
            )

    @contextmanager
    def _translating_errors(self, begin: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise  # a defect of DAHPS, not of the storage
        # The last one is Python's, of what SQLite quotes.
        except (Misfit, UnreadableJSON, UnicodeDecodeError) as error:
            self.close()
            raise damaged(str(error), self.path, self.folder) from error
        except sqlite3.DatabaseError as error:
            self.close()
            told = meaning(
                error,
                self.path,
                self.folder,
                self._patience_s,
                is_expected=self._was_there or self._create,
                is_reading=begin == "begin_reading",
            )
            if told is None:
                raise
            raise told from error


def _make(path: Path) -> None:
    """Make an empty file unless there is one, with the permissions that the umask leaves.

    SQLite itself makes files that only their owner may write, whatever the umask.
    """
    # Not by opening it: to close it would drop the locks that another thread of this process holds by then.
    with suppress(OSError):  # SQLite makes it where the system does not, or reports why there can be none
        os.mknod(path, stat.S_IFREG | 0o666)
