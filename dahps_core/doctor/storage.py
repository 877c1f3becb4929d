"""The facts of a storage that need no test, and what its refusals mean."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import Any

from dahps_core.errors import LedgerUnavailableError

_HINTS = {
    errno.EACCES: "Request write permission from the folder's owner, or try another folder",
    errno.EROFS: "It is mounted read-only here: mount it writable, or try another folder",
    errno.ENOSPC: "Free some space (or inodes), and run the doctor again",
    errno.EDQUOT: "Free some space or have the quota raised, and run the doctor again",
}
_HINTS[errno.EPERM] = _HINTS[errno.EACCES]


def is_circumstance(error: OSError) -> bool:
    """Return whether a refusal says nothing about the storage: no permission, no space."""
    return error.errno in _HINTS


def unavailable(error: OSError, folder: Path) -> LedgerUnavailableError:
    """Make the error of a storage that refuses; the file shows at which step."""
    file = f" ({Path(os.fsdecode(error.filename)).name})" if error.filename else ""
    return LedgerUnavailableError(
        f"the storage refused: {error.strerror or error}{file}",
        where=str(folder),
        hint=_HINTS.get(error.errno or 0, "Check whether the storage is reachable and mounted on this host"),
    )


def facts(folder: Path) -> dict[str, Any]:
    """Return the mount, the free space, and whether a group can share the folder: for information only."""
    space = os.statvfs(folder)
    return {
        **_mount_of(folder),
        "bytes_free": space.f_bavail * space.f_frsize,
        "bytes": space.f_blocks * space.f_frsize,
        "inodes_free": space.f_favail,
        "inodes": space.f_files,
        "sharing": _sharing(folder),
    }


def _sharing(folder: Path) -> str:
    mode = folder.stat().st_mode
    missing = [
        name for bit, name in ((stat.S_IWGRP, "group write"), (stat.S_ISGID, "setgid")) if not mode & bit
    ]
    if not missing:
        return f"suits a group: {stat.filemode(mode)}"
    return f"for one user: {stat.filemode(mode)} is without {' and '.join(missing)} (chmod g+ws to share it)"


def _mount_of(folder: Path) -> dict[str, str]:
    """Return the mount's type, source and place; empty where the system does not report them."""
    try:
        lines = (
            Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        )
    except OSError:
        return {}
    real = folder.resolve()
    best: dict[str, str] = {}
    for line in lines:
        left, _, right = line.partition(" - ")
        mount, (kind, source) = _unescaped(left.split()[4]), right.split()[:2]
        # The longest path wins, and of equal ones the last: it covers those before.
        if real.is_relative_to(mount) and len(mount) >= len(best.get("mount", "")):
            best = {"type": kind, "source": _unescaped(source), "mount": mount}
    return best


def _unescaped(path: str) -> str:
    # The kernel writes a space as \040.
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), path)
