"""The epochs of a database under a lock folder: one folder for each takeover of the lock."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

_PREFIX = "epoch-"
_DATABASE = "ledger.db"
_SEIZED = "seized"


def folder(root: Path, number: int) -> Path:
    """Return the folder of an epoch."""
    return root / f"{_PREFIX}{number}"


def newest(root: Path) -> int:
    """Return the number of the newest epoch; 0 if none has begun."""
    return max(map(_number, root.glob(f"{_PREFIX}*")), default=0)


def newest_database(root: Path) -> Path:
    """Return the database that counts, without holding the lock: to be looked at only."""
    return folder(root, newest(root)) / _DATABASE


def journal_of(database: Path) -> Path:
    """Return the file that rolls back what was half done in a database."""
    seized = database.with_name(_SEIZED)
    return seized if seized.is_file() else _journal(database.parent)


def is_fenced(epoch: Path) -> bool:
    """Return whether a takeover has fenced an epoch, so that another has to follow."""
    return _journal(epoch).is_dir()


def fence(epoch: Path) -> None:
    """Make it impossible to begin a transaction in an epoch, or to end one."""
    journal = _journal(epoch)
    while True:
        # Created before it is read: a network file system may cache that there was none.
        with suppress(FileExistsError):
            journal.mkdir()
        if journal.is_dir():
            return
        with suppress(FileNotFoundError, IsADirectoryError):
            # Moved, not copied: its writer may keep using it, and can no longer delete it.
            os.rename(journal, epoch / _SEIZED)


def fill(new: Path, old: Path | None) -> None:
    """Copy the database of a fenced epoch, and roll back what was half done in it; None: an empty one."""
    if old is None:
        (new / _DATABASE).touch()
        return
    shutil.copyfile(old / _DATABASE, new / _DATABASE)
    # After the database: whatever its writer has changed there meanwhile is in the journal by now.
    with suppress(FileNotFoundError):
        shutil.copyfile(old / _SEIZED, _journal(new))
    uri = f"{(new / _DATABASE).absolute().as_uri()}?mode=rw&nolock=1"
    with closing(sqlite3.connect(uri, uri=True)) as copy:
        copy.execute("SELECT count(*) FROM sqlite_master").fetchall()
    for path in new.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def remove_earlier(root: Path, number: int, most: int) -> None:
    """Remove up to `most` epochs before a number; one that holds copies for people keeps these."""
    for epoch in islice(root.glob(f"{_PREFIX}*"), most):
        if _number(epoch) < number:
            database, seized = epoch / _DATABASE, epoch / _SEIZED
            for remove in (database.unlink, seized.unlink, _journal(epoch).rmdir, epoch.rmdir):
                with suppress(OSError):
                    remove()


def _number(epoch: Path) -> int:
    return int(epoch.name.removeprefix(_PREFIX))


def _journal(epoch: Path) -> Path:
    return epoch / f"{_DATABASE}-journal"
