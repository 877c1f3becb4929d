"""Locks for storage that has none: all that is needed is that a folder can be renamed in one step.

The lock is a folder with one file in it, with its holder's token. A process that wants it prepares such a
folder and renames it to the lock's name: that fails while a folder with something in it bears the name.

A lock that its holder left behind is taken over, and the holder is fenced: it may only be slow, and a wrong
guess must do no harm. So the database lives in the folder of an epoch. A process that takes the lock over
makes the old epoch's journal impossible (a folder takes its place), copies the database, rolls back what was
half done in the copy, and begins the next epoch with it. The old holder can write to the old epoch's file at
most, and is refused when it confirms that it held the lock to the end.

A takeover that meets an error, or a Ctrl-C, leaves its mark in the lock under the name `abandoned`: the next
process takes the lock over in its turn, at once, and completes the epoch.
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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from dahps_core.errors import LedgerUnavailableError
from dahps_core.ledger.sqlite import lock_epochs
from dahps_core.ledger.sqlite.backoff import Patience
from dahps_core.ledger.sqlite.storage_errors import fresh_stamp
from dahps_core.text.small_files import open_at_once, read_json

#: Seconds without a change of the lock or the database after which the holder is considered dead.
STALE_S = 120.0

_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
_PREPARED = "prepared-"
_ABANDONED = "abandoned"

#: Age in seconds at which a prepared folder belongs to a dead process: no process waits that long.
_LEFT_OVER_S = 86_400.0
#: How many leftovers one takeover removes at most.
_MOST_REMOVED = 100


class LockTakenOver(LedgerUnavailableError):  # noqa: N818 - an event, as ClaimLost is
    """The lock was held for too long: the work under it must be repeated."""


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
        """Expect that no process has taken the lock over.

        Raises:
            LockTakenOver: One has; whether the write counts is unknown.
        """
        try:
            # Opened, since a network file system then contacts its server.
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
        self._is_heir = False  # from before the mark replaces another's, until the next epoch has begun

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
        prepared = self._root / f"{_PREPARED}{token}"
        mark = self._mark = self._lock / token
        try:
            prepared.mkdir()
            (prepared / token).write_text(_identity(token))
            self._acquire(prepared, mark, patience)
            # In this order: a holder that is fenced between the two looks finds an epoch that is over.
            hold = Hold(mark, self._epoch_path(prepared))
            hold.confirm()
            self._create = False  # what existed once is never created again
            yield hold
        finally:
            shutil.rmtree(prepared, ignore_errors=True)
            self._let_go()

    def _let_go(self) -> None:
        with suppress(OSError):  # the next call tries again
            if self._mark is not None and self._is_heir:
                # Not removed: the holder before may still write to an epoch that is not fenced.
                _renamed(self._mark, self._lock / _ABANDONED)
            elif self._mark is not None:
                self._mark.unlink(missing_ok=True)
            self._mark, self._is_heir = None, False

    def _acquire(self, prepared: Path, mark: Path, patience: Patience) -> None:
        watch = _Watch()
        while not _renamed(prepared, self._lock):
            if mark.exists():  # renamed by an earlier try whose answer was lost
                return
            holder = self._holder()
            if holder and watch.is_stale(holder, lock_epochs.newest_database(self._root)):
                self._is_heir = True
                if _renamed(holder, mark):
                    # Never created again: another process may have taken it over by now.
                    with suppress(FileNotFoundError), mark.open("r+") as file:
                        file.truncate()
                        file.write(_identity(mark.name))
                    return
            elif patience.has_ended():
                raise LedgerUnavailableError(
                    "the ledger's lock was held by others for too long",
                    where=str(self._lock),
                    hint=f"Check whether its holder is alive: {_read(holder)}",
                )
            patience.pause()
        self._is_heir = False

    def _holder(self) -> Path | None:
        with suppress(FileNotFoundError):
            return next(iter(self._lock.iterdir()), None)
        return None

    def _epoch_path(self, prepared: Path) -> Path:
        number = lock_epochs.newest(self._root)
        if number == 0:
            if not self._create:
                raise FileNotFoundError(lock_epochs.folder(self._root, 1))
            self._begin_epoch(1, prepared)
        # Older versions let the lock go after an error: the epoch is fenced, and no other has begun.
        elif self._is_heir or lock_epochs.is_fenced(lock_epochs.folder(self._root, number)):
            self._fence_and_go_on(number, prepared)
        self._is_heir = False
        return lock_epochs.newest_database(self._root)

    def _begin_epoch(self, number: int, prepared: Path, old: Path | None = None) -> None:
        """Begin an epoch, unless another process has."""
        made = prepared.with_name(f"{prepared.name}-epoch")
        made.mkdir()
        try:
            lock_epochs.fill(made, old)
            _renamed(made, lock_epochs.folder(self._root, number))
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def _fence_and_go_on(self, number: int, prepared: Path) -> None:
        assert self._mark
        old = lock_epochs.folder(self._root, number)
        hold = Hold(self._mark, old)
        hold.confirm()  # a process that lost the lock meanwhile would fence an epoch that is not its own
        try:
            lock_epochs.fence(old)
            self._begin_epoch(number + 1, prepared, old)
        except (OSError, sqlite3.Error):
            hold.confirm()  # another process that took the lock over has tidied up
            raise
        with suppress(OSError):
            self._tidy(number + 1, self._mark.stat().st_mtime - _LEFT_OVER_S)

    def _tidy(self, newest: int, before: float) -> None:
        """Remove earlier epochs, and what killed processes prepared before a time of the storage's clock."""
        lock_epochs.remove_earlier(self._root, newest, _MOST_REMOVED)
        for path in islice(self._root.glob(f"{_PREPARED}*"), _MOST_REMOVED):
            # Renamed first: under its own name a process that waits after all may make it the lock.
            trash = path.with_name(f"{_PREPARED}trash-{secrets.token_hex(8)}")
            if path.stat().st_mtime < before and _renamed(path, trash):
                shutil.rmtree(trash, ignore_errors=True)


class _Watch:
    """Judges by its own observations whether a holder is gone."""

    def __init__(self) -> None:
        self._seen: object = None
        self._since = time.monotonic()

    def is_stale(self, holder: Path, database: Path) -> bool:
        seen = (holder.name, *map(_stamp, (database, database.with_name(f"{database.name}-journal"))))
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        return time.monotonic() - self._since > STALE_S or _is_gone(holder)


def _renamed(path: Path, name: Path) -> bool:
    """Rename a folder; return whether it got the name, which a non-empty folder never loses."""
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
    """Identify this process for others of its host, and state the mark of that host."""
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
    """Return whether the holder gave up in a takeover, or is an ended process of this host."""
    if holder.name == _ABANDONED:
        return True
    claimed, here = _read(holder), _kernel()
    # A new holder may not have identified itself yet. Other hosts may have the same name.
    is_of_here = (
        claimed.get("mark") == holder.name and here["boot"] is not None and here.items() <= claimed.items()
    )
    return is_of_here and claimed.get("started") != _started(claimed.get("pid"))


def _read(holder: Path | None) -> dict[str, object]:
    with suppress(OSError, ValueError):
        claimed = read_json(holder) if holder else {}
        return claimed if isinstance(claimed, dict) else {}
    return {}
