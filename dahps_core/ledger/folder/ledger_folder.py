"""The ledger's folder on the storage: created, recognized, and distinguished from one that is used in
another way.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal, TypeAlias

from dahps_core.errors import ConfigurationError, LedgerDamagedError, LockingChangedError
from dahps_core.ledger.sqlite.storage_errors import not_a_ledger, refused

#: The database; with `locking=folder` a folder, which has it somewhere inside.
FILE_NAME = "ledger.db"

Locking: TypeAlias = Literal["fcntl", "folder"]


def possible(folder: Path | str) -> Path:
    """Return the absolute path, if a folder can have it: the process may change its directory later."""
    if "\0" in str(folder):
        raise ConfigurationError("no path has a NUL in it", where=repr(str(folder)))
    try:
        absolute = Path(folder).absolute()
    except FileNotFoundError as error:
        raise ConfigurationError(
            "the path is relative, and the current directory has been removed",
            where=str(folder),
            hint="Give an absolute path, or change to a directory that exists",
        ) from error
    if os.path.isfile(absolute):  # False as well where one may not look
        raise not_a_ledger(absolute, "this is a file; a ledger is a folder")
    return absolute


def make_folder(folder: Path) -> None:
    """Make the folder and its parents."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(_existing(folder), error) from error


def locking_of(folder: Path) -> Locking | None:
    """Return how the ledger in a folder locks; None where there is none, or its storage is gone.

    The one way makes a file, the other a folder of the same name: they cannot be mixed, whichever is first.
    """
    try:
        mode = (folder / FILE_NAME).stat().st_mode
    except PermissionError as error:
        raise refused(_existing(folder), error) from error
    except OSError:
        return None
    if stat.S_ISDIR(mode):
        return "folder"
    if not stat.S_ISREG(mode):  # SQLite would wait for a writer of a FIFO
        raise not_a_ledger(folder / FILE_NAME, "it is no file")
    return "fcntl"


def refuse_mixing(folder: Path, locking: Locking) -> None:
    """Expect that no process uses the ledger with another way of locking."""
    made_with = locking_of(folder)
    if made_with not in (None, locking):
        raise LockingChangedError(
            f"the ledger was made with locking={made_with}, and this command says {locking}",
            where=str(folder),
            hint=f"Use locking={made_with} (hydra.sweeper.locking), or another ledger folder",
        )


def refuse_if_emptied(folder: Path) -> None:
    """Refuse an empty file where a search has been: it is a lost ledger, not a new one.

    Raises:
        LedgerDamagedError: The folder holds signs of an earlier search.
    """
    signs = [name for name in ("heartbeats", "checkpoints") if (folder / name).is_dir()]
    if signs:
        raise LedgerDamagedError(
            f"the ledger is empty or missing, though a search has been here (see {' and '.join(signs)})",
            where=str(folder),
            hint="Put a copy of ledger.db back, or move the folder away to start a new search",
        )


def _existing(folder: Path) -> Path:
    """Return the folder, or its nearest existing parent, whose permissions count."""
    return next((one for one in (folder, *folder.parents) if os.path.lexists(one)), folder)
