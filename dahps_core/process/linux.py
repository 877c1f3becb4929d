"""System calls of Linux beyond what Python offers; no-ops elsewhere."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

# Of OpenMP's omp.h.
_OMP_PAUSE_SOFT = 1
# Of linux/prctl.h.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def die_with(parent: int) -> None:
    """Let this process be killed when its parent ends, however it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the request took effect
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of whatever the descendants of this process leave behind."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children() -> set[int]:
    """Return the children of this process."""
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            found.update(map(int, task.read_text().split()))
    return found


def kill_strays(spared: set[int]) -> None:
    """Kill the children of this process but those, and all that they leave behind.

    What became another user's, as by `sudo`, stays.
    """
    spared = set(spared)
    while strays := children() - spared:
        for pid in strays:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            except PermissionError:
                spared.add(pid)
                continue
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def end_openmp_threads() -> None:
    """End the threads that GNU's OpenMP keeps for this one, and restarts when they are needed.

    It would wait for them for ever in a forked process, which has none of them.
    """
    for library in _mapped("libgomp"):
        with suppress(OSError, AttributeError):  # older than OpenMP 5
            ctypes.CDLL(library, os.RTLD_NOLOAD).omp_pause_resource_all(_OMP_PAUSE_SOFT)


def _mapped(name: str) -> set[str]:
    """Return the paths of this process's loaded libraries with a name like this."""
    with suppress(OSError), open("/proc/self/maps", errors="surrogateescape") as maps:
        return {line.split(maxsplit=5)[5].rstrip("\n") for line in maps if f"/{name}" in line}
    return set()


def is_there(pid: int) -> bool:
    """Return whether this host has such a process, of any user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def forget_handler(number: int) -> None:
    """Restore a signal's default action, though Python keeps its handler.

    Python sets handlers in the main thread alone, which may be busy for ever.
    """
    ctypes.CDLL(None).signal(number, ctypes.c_void_p(0))


def die_of(number: int) -> NoReturn:
    """End this process by a signal's default action, from any thread, whatever handles the signal."""
    forget_handler(number)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)
