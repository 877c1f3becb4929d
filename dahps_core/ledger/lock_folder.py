"""Locks for storage that has none: all that is needed is that a folder can be renamed in one step.

The lock is a folder with one file in it, which bears its holder's token. Whoever wants it prepares such a
folder and renames it to the lock's name: that fails while a folder with something in it bears the name.

A lock that its holder left behind is taken over, and the holder is fenced: it may only be slow, and a wrong
guess must do no harm. So the database lives in the folder of an epoch. Whoever takes the lock over makes the
old epoch's journal impossible (a folder stands in its place), copies the database, rolls back what was half
done in the copy, and begins the next epoch with it. The old holder can write to the old epoch's file at most,
and is refused when it confirms that it held the lock to the end.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dahps_core.errors import LedgerUnavailableError
from dahps_core.ledger.patience import Patience
from dahps_core.ledger.storage import fresh_stamp
from dahps_core.small_files import open_at_once, read_json

#: After so many seconds in which neither the lock nor the database changes, the holder is held for dead.
STALE_S = 120.0

_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
_FILE_NAME = "ledger.db"
_EPOCH = "epoch-"


class LockTakenOver(LedgerUnavailableError):  # noqa: N818 - an event, as ClaimLost is
    """The lock was held for too long: what was done meanwhile is to be done again."""


@dataclass(frozen=True)
class Hold:
    """A lock that is held.

    Attributes:
        mark: The file in the lock that bears the holder's token.
        path: The database of the epoch in which the lock was taken.
    """

    mark: Path
    path: Path

    def confirm(self) -> None:
        """Expect that nobody has taken the lock over.

        Raises:
            LockTakenOver: Somebody has; whether what was written counts is not known.
        """
        try:
            # Opened, since a network file system asks its server then.
            os.close(open_at_once(self.mark))
        except FileNotFoundError:
            raise LockTakenOver(
                "the lock was held for too long, and taken over by another process",
                where=str(self.mark.parent),
            ) from None


class LockFolder:
    """An exclusive lock on a database, for readers and writers alike.

    Args:
        root: The folder of the lock and of the epochs; made where it is missing if `create` is true.
        create: Whether the first epoch is begun, with an empty database.
    """

    def __init__(self, root: Path, *, create: bool) -> None:
        self._root = root
        self._lock = root / "lock"
        self._create = create
        self._mark: Path | None = None

    @contextmanager
    def held(self, patience: Patience) -> Iterator[Hold]:
        """Hold the lock.

        Raises:
            LedgerUnavailableError: It was held by others until the patience ended.
        """
        self._let_go()  # of what a signal's exception, or the storage, has kept the last call from
        if self._create:
            self._root.mkdir(exist_ok=True)
        token = secrets.token_hex(8)
        prepared = self._root / f"prepared-{token}"
        mark = self._mark = self._lock / token
        try:
            prepared.mkdir()
            (prepared / token).write_text(_identity(token))
            self._acquire(prepared, mark, patience)
            # In this order: a holder that is fenced between the two looks finds an epoch that is over.
            hold = Hold(mark, self._epoch_path(prepared))
            hold.confirm()
            self._create = False  # what has been there is never made anew
            yield hold
        finally:
            shutil.rmtree(prepared, ignore_errors=True)
            self._let_go()

    def _let_go(self) -> None:
        with suppress(OSError):  # the next call tries again
            if self._mark is not None:
                self._mark.unlink(missing_ok=True)
            self._mark = None

    def _acquire(self, prepared: Path, mark: Path, patience: Patience) -> None:
        watch = _Watch()
        while not _renamed(prepared, self._lock) and not mark.exists():
            holder = self._holder()
            if holder and watch.is_stale(holder, newest_database(self._root)):
                if _renamed(holder, mark):
                    # Never made anew: another one may have taken it over by now.
                    with suppress(FileNotFoundError), mark.open("r+") as file:
                        file.truncate()
                        file.write(_identity(mark.name))
                    self._fence_and_go_on(prepared, mark)
                    return
            elif patience.has_ended():
                raise LedgerUnavailableError(
                    "the ledger's lock was held by others for too long",
                    where=str(self._lock),
                    mend=f"See whether its holder lives: {_read(holder)}",
                )
            patience.pause()

    def _holder(self) -> Path | None:
        with suppress(FileNotFoundError):
            return next(iter(self._lock.iterdir()), None)
        return None

    def _epoch_path(self, prepared: Path) -> Path:
        if _newest_epoch(self._root) == 0:
            if not self._create:
                raise FileNotFoundError(self._root / f"{_EPOCH}1")
            self._begin_epoch(1, prepared)
        return newest_database(self._root)

    def _begin_epoch(self, number: int, prepared: Path, old: Path | None = None) -> None:
        """Begin an epoch, unless somebody else has."""
        made = prepared.with_name(f"{prepared.name}-epoch")
        made.mkdir()
        try:
            _copy(old, made) if old else (made / _FILE_NAME).touch()
            _renamed(made, self._root / f"{_EPOCH}{number}")
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def _fence_and_go_on(self, prepared: Path, mark: Path) -> None:
        number = _newest_epoch(self._root)
        if number == 0:
            return
        old = self._root / f"{_EPOCH}{number}"
        hold = Hold(mark, old / _FILE_NAME)
        hold.confirm()  # whoever was taken over meanwhile would fence an epoch that is not its own
        try:
            _fence(old)
            self._begin_epoch(number + 1, prepared, old)
        except (OSError, sqlite3.Error):
            hold.confirm()  # another one that took the lock over has tidied up
            raise
        with suppress(OSError):
            hold.path.unlink()


def newest_database(root: Path) -> Path:
    """The database that counts, without holding the lock: to be looked at only."""
    return root / f"{_EPOCH}{_newest_epoch(root)}" / _FILE_NAME


def _newest_epoch(root: Path) -> int:
    return max((int(path.name.removeprefix(_EPOCH)) for path in root.glob(f"{_EPOCH}*")), default=0)


def _fence(epoch: Path) -> None:
    """Make it impossible to begin a transaction in an epoch, or to end one."""
    journal = epoch / f"{_FILE_NAME}-journal"
    while not journal.is_dir():
        with suppress(FileNotFoundError, IsADirectoryError):
            # Moved, not copied: its writer may go on with it, and can no longer throw it away.
            os.rename(journal, epoch / "seized")
        with suppress(FileExistsError):
            journal.mkdir()


def _copy(old: Path, new: Path) -> None:
    """Copy the database of a fenced epoch, and roll back what was half done in it."""
    shutil.copyfile(old / _FILE_NAME, new / _FILE_NAME)
    # After the database: whatever its writer has changed there meanwhile stands in the journal by now.
    with suppress(FileNotFoundError):
        shutil.copyfile(old / "seized", new / f"{_FILE_NAME}-journal")
    with closing(sqlite3.connect(f"{(new / _FILE_NAME).as_uri()}?mode=rw&nolock=1", uri=True)) as copy:
        copy.execute("SELECT count(*) FROM sqlite_master").fetchall()
    for path in new.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


class _Watch:
    """Tells by what it has itself seen whether a holder is gone."""

    def __init__(self) -> None:
        self._seen: object = None
        self._since = time.monotonic()

    def is_stale(self, holder: Path, database: Path) -> bool:
        seen = (holder.name, *map(_stamp, (database, database.with_name(f"{database.name}-journal"))))
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        return time.monotonic() - self._since > STALE_S or _is_gone(holder)


def _renamed(path: Path, name: Path) -> bool:
    """Whether a path got a name, which a folder with something in it does not give up."""
    try:
        os.rename(path, name)
    except (FileNotFoundError, FileExistsError):
        return False
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
        return False
    return True


def _stamp(path: Path) -> int | None:
    with suppress(OSError):
        return fresh_stamp(path)
    return None


def _identity(token: str) -> str:
    """Who this process is, as far as others of its host can check, and of which mark that is told."""
    pid = os.getpid()
    return json.dumps(
        {"mark": token, "host": socket.gethostname(), "pid": pid, **_kernel(), "started": _started(pid)}
    )


def _kernel() -> dict[str, str | None]:
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return {"boot": boot, "pids": os.readlink("/proc/self/ns/pid")}
    return {"boot": None, "pids": None}


def _started(pid: object) -> str | None:
    with suppress(OSError):
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]
    return None


def _is_gone(holder: Path) -> bool:
    """Whether the holder is a process of this host that is seen to have ended."""
    told, here = _read(holder), _kernel()
    # Who has just taken the lock over has not told yet who it is. A host's name others may have as well.
    is_of_here = told.get("mark") == holder.name and here["boot"] is not None and here.items() <= told.items()
    return is_of_here and told.get("started") != _started(told.get("pid"))


def _read(holder: Path | None) -> dict[str, object]:
    with suppress(OSError, ValueError):
        told = read_json(holder) if holder else {}
        return told if isinstance(told, dict) else {}
    return {}
