"""What the storage's refusals mean: which path, why, and what to do."""

from __future__ import annotations

import errno
import os
import pwd
import secrets
import sqlite3
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from dahps_core.errors import LedgerDamagedError, LedgerError, LedgerUnavailableError, NotALedgerError
from dahps_core.text.printing import pasted
from dahps_core.text.small_files import open_at_once

#: What SQLite says where the storage refuses; anything else that it says is of our own doing.
_SIGNS_OF_REFUSAL = ("disk I/O", "unable to open", "readonly", "is full", "locking protocol", "out of memory")

#: What SQLite says where it finds in a file what it cannot have written, or not for our statements.
_SIGNS_OF_DAMAGE = ("malformed", "no such table", "no such column", "decode", "unsupported file format")

_SAFE = "what is recorded stays"
_HINTS = {
    errno.EACCES: "Ask its owner for write permission (in a folder that a group shares: "
    "chmod -R g+rwX FOLDER, and umask 002 for all who use it), or use another ledger folder",
    errno.EROFS: f"The storage is mounted read-only: {_SAFE}; rerun the command once it is writable",
    errno.ENOSPC: f"Free some space, and rerun the same command: {_SAFE}",
    errno.EDQUOT: f"Free some space or have the quota raised, and rerun the same command: {_SAFE}",
}
_STORAGE_HINT = f"Check whether the storage is reachable, and rerun the same command: {_SAFE}"


def is_locked(error: sqlite3.DatabaseError) -> bool:
    """Return whether others use the database, which passes."""
    # By its text: Python 3.10 does not expose SQLite's error code.
    return "is locked" in str(error)


def meaning(
    error: sqlite3.DatabaseError,
    path: Path,
    folder: Path,
    patience_s: float,
    *,
    is_expected: bool,
    is_reading: bool,
) -> LedgerError | None:
    """Return what an error of SQLite means for the storage of a ledger; None if nothing.

    Args:
        error: Not one caused by a wrong statement.
        path: The database.
        folder: The ledger's.
        patience_s: For how long it was waited.
        is_expected: Whether the ledger was seen there before, or was to be made: then a missing one is the
            storage's refusal.
        is_reading: Whether nothing was to be written.
    """
    text = str(error)
    if is_locked(error):
        return LedgerUnavailableError(
            f"the ledger was locked for longer than {patience_s:g} s",
            where=str(path),
            hint="Check whether a process that uses it is stopped, or its host unreachable, "
            f"and whether the storage's locks work: dahps doctor {pasted([str(folder)])}",
        )
    if is_reading and "readonly" in text:  # a reader writes only to roll back what a dead process left
        return LedgerUnavailableError(
            "a process died in the middle of a write, and rolling that back requires write permission"
            + _owner(path),
            where=str(path),
            hint=f"A user with write permission has to run once: dahps status {pasted([str(folder)])}",
        )
    if "not a database" in text:
        return not_a_ledger(path, "the file is not a ledger")
    if "malformed" in text and (found := _first_refused(path)):
        return refused(*found)  # to SQLite what cannot be read is damaged
    if any(sign in text for sign in _SIGNS_OF_DAMAGE):
        return damaged(text, path, folder)
    if not is_expected and "unable to open" in text and not _exists(path):
        return not_a_ledger(path, "there is no ledger here")
    return refusal(path, text) if any(sign in text for sign in _SIGNS_OF_REFUSAL) else None


def refusal(path: Path, text: str) -> LedgerUnavailableError:
    """Find out by trying why the storage refused: SQLite does not say."""
    found = _first_refused(path)
    if found is None and "full" in text:  # for a moment, or for more than was tried
        found = path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if found is None:
        return LedgerUnavailableError(f"the storage refused: {text}", where=str(path), hint=_STORAGE_HINT)
    return refused(*found)


def refused(path: Path, error: OSError, also: str = "") -> LedgerUnavailableError:
    """Make the error of a path that the system refuses to create or write; `also` ends its first sentence."""
    code = errno.EACCES if error.errno == errno.EPERM else error.errno or 0
    why = error.strerror or os.strerror(code)
    folder = path if os.path.isdir(path) else path.parent
    return LedgerUnavailableError(
        f"the storage refused: {why}{_owner(path)}{also}",
        where=str(path),
        hint=_HINTS.get(code, _STORAGE_HINT).replace("FOLDER", pasted([str(folder)])),
    )


def damaged(text: str, path: Path | None = None, folder: Path | None = None) -> LedgerDamagedError:
    """Make the error of a ledger with invalid contents."""
    return LedgerDamagedError(
        f"the ledger is damaged ({text})",
        where=None if path is None else str(path),
        hint=f"Run: dahps recover {pasted([str(folder)]) if folder else 'LEDGER'}",
    )


def not_a_ledger(path: Path, what: str) -> NotALedgerError:
    """Make the error of a path without a ledger."""
    return NotALedgerError(what, where=str(path), hint="Give the folder of a ledger, or of one to be created")


def fresh_stamp(path: Path) -> int | None:
    """Return when a file was last modified, in ns by the storage's clock; None if there is none."""
    try:
        # Opened, since `stat` alone may be cached: a network file system shows fresh attributes after an
        # open.
        descriptor = open_at_once(path)
    except FileNotFoundError:
        return None
    try:
        return os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)


def put_in_place(path: Path, text: str = "") -> None:
    """Replace a small file atomically; the old one may be another user's.

    Raises:
        OSError: The storage refused.
    """
    half = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        half.write_text(text)
        half.chmod(0o644)  # whatever the umask: other users look at the search
        os.replace(half, path)
    except BaseException:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        raise


def storage_time(folder: Path) -> float:
    """Return the time in seconds since the epoch by the storage's clock; by this host's where nothing may be
    written.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock-") as touched:
            os.utime(touched.fileno())  # without times, as a heart beats
            return os.fstat(touched.fileno()).st_mtime
    except OSError:
        return time.time()


def _first_refused(path: Path) -> tuple[Path, OSError] | None:
    try:
        with tempfile.TemporaryFile(dir=path.parent) as probe:
            probe.write(bytes(4096))
            probe.flush()
            os.fsync(probe.fileno())
            os.pread(probe.fileno(), 4096, 0)
    except OSError as error:
        return path.parent, error
    # The files themselves only by asking: to open and close one would drop the locks that SQLite holds.
    for one in (path, path.with_name(f"{path.name}-journal")):
        if one.exists() and not os.access(one, os.R_OK | os.W_OK):
            return one, OSError(errno.EACCES, os.strerror(errno.EACCES))
    return None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True  # unknown for now


def _owner(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    owner = str(status.st_uid)
    with suppress(KeyError):
        owner = pwd.getpwuid(status.st_uid).pw_name
    return f" (owner {owner}, mode {stat.filemode(status.st_mode)})"
