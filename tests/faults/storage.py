"""A storage whose faults are switched while processes work on it: the Python side of `storage.c`."""

from __future__ import annotations

import atexit
import ctypes
import errno
import functools
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.support import skip_unless_required

#: Kinds of calls, in the order of `enum kind` in `storage.c`.
KINDS = (
    *("open", "create", "close", "read", "write", "fsync", "truncate", "unlink", "rename", "mkdir", "link"),
    *("stat", "utime", "chmod", "lock", "unlock", "lock_test"),
)
#: Where a process may be killed or stopped. Not at "chmod": SQLite calls fchown only when it runs as root.
MUTATING = (
    *("create", "write", "fsync", "truncate", "unlink", "rename", "mkdir", "link", "utime", "lock", "unlock"),
)
#: In the order of `enum locks` in `storage.c`.
LOCKS = ("honest", "lying", "refused")
#: In seconds; longer than any test.
FOR_EVER_S = 1e6

_PerKind = ctypes.c_uint64 * len(KINDS)


def _cells(*names: str) -> list[tuple[str, type]]:
    return [(name, ctypes.c_uint64) for name in names]


class _Strike(ctypes.Structure):
    _fields_ = _cells("kinds", "at", "count", "signal", "after", "torn", "error")


class _Control(ctypes.Structure):
    _fields_ = [
        *((name, _PerKind) for name in ("count", "error", "delay_us")),
        *_cells("locks", "armed", "arming"),
        ("strike", _Strike),
    ]


class FaultyStorage:
    """A folder as some processes see it: those that were started with this storage's environment.

    Two of them on one folder, each with a control folder of its own, are like two hosts on one file server.
    Several errors and delays may hold at once, one of each for each kind of call; no kinds mean all `KINDS`.

    Args:
        folder: Calls on files below it, and on itself, are meddled with.
        control_folder: Where the faults and the counts are kept; outside of the folder.
    """

    def __init__(self, folder: Path, control_folder: Path) -> None:
        self.folder = folder
        self._file = control_folder.resolve() / "control"
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with open(self._file, "ab+") as file:
            file.truncate(ctypes.sizeof(_Control))
            self._control = _Control.from_buffer(mmap.mmap(file.fileno(), ctypes.sizeof(_Control)))

    @classmethod
    def inherited(cls) -> FaultyStorage:
        """In a process that has the environment: the storage that it works on."""
        file = Path(os.environ["DAHPS_FAULTS_CONTROL"])
        return cls(Path(os.environ["DAHPS_FAULTS_FOLDER"]), file.parent)

    def environment(
        self,
        *kinds: str,
        kill_at: int | None = None,
        stop_at: int | None = None,
        after: bool = False,
    ) -> dict[str, str]:
        """The variables to add to the environment of a process, and of its children.

        Args:
            kinds: Which calls count for the other arguments; without any, `MUTATING`.
            kill_at: The process is killed at its n-th such call since `arm` was called last.
            stop_at: The same with SIGSTOP; after a SIGCONT it goes on with the call.
            after: Whether after that call rather than before it.
        """
        preloaded = [str(_library()), *os.environ.get("LD_PRELOAD", "").split()]
        variables = {
            "LD_PRELOAD": " ".join(preloaded),
            "DAHPS_FAULTS_FOLDER": str(self.folder.resolve()),
            "DAHPS_FAULTS_CONTROL": str(self._file),
            "DAHPS_FAULTS_KINDS": str(_bits(kinds or MUTATING)),
        }
        if kill_at is not None:
            variables["DAHPS_FAULTS_KILL_AT"] = str(kill_at)
        if stop_at is not None:
            variables["DAHPS_FAULTS_STOP_AT"] = str(stop_at)
        if after:
            variables["DAHPS_FAULTS_AFTER"] = "1"
        return variables

    def arm(self) -> None:
        """From now on count for those processes whose environment asks for a signal."""
        self._control.arming += 1
        self._control.armed = 1

    def fail(self, error: int, *kinds: str) -> None:
        """These calls do nothing and give this error (of `errno`)."""
        self._set(self._control.error, error, kinds)

    def delay(self, delay_s: float, *kinds: str) -> None:
        """Each of these calls first waits so long; those that wait already end with the new delay."""
        self._set(self._control.delay_us, int(delay_s * 1e6), kinds)

    def hang(self, *kinds: str) -> None:
        """These calls do not come back before `heal`, as with a file server that is gone."""
        self.delay(FOR_EVER_S, *kinds)

    def locks(self, how: str) -> None:
        """How fcntl locks go: "honest", "lying" (granted, but not held) or "refused" (others hold all)."""
        self._control.locks = LOCKS.index(how)

    def kill_at(self, n: int, *kinds: str, after: bool = False) -> None:
        """Kill the process that makes the n-th such call from now on, before or after it."""
        self._strike(n, kinds, signal.SIGKILL, after=after)

    def stop_at(self, n: int, *kinds: str, after: bool = False) -> None:
        """Stop (not kill) the process that makes the n-th such call from now on, before or after it."""
        self._strike(n, kinds, signal.SIGSTOP, after=after)

    def interrupt_at(self, n: int, *kinds: str) -> None:
        """Send SIGINT, as Ctrl-C does, to the process that makes the n-th such call from now on, after it."""
        self._strike(n, kinds, signal.SIGINT, after=True)

    def fail_at(self, n: int, *kinds: str, error: int = errno.EIO) -> None:
        """Let the n-th such call from now on do nothing, and give this error (of `errno`)."""
        self._strike(n, kinds, 0, error=error)

    def tear_at(self, n: int) -> None:
        """Kill the process that makes the n-th write from now on, when half of that write was done."""
        self._strike(n, ("write",), signal.SIGKILL, after=True, torn=True)

    def heal(self) -> None:
        """No faults any more, and no signals to come; the counts stay."""
        self._control.strike.kinds = 0
        self._control.armed = 0
        self.locks("honest")
        self.fail(0)
        self.delay(0)

    def counts(self) -> Counter[str]:
        """How many calls of each kind all processes made, since the control folder was made."""
        return Counter(dict(zip(KINDS, self._control.count, strict=True)))

    @property
    def passed(self) -> int:
        """How many calls the last `kill_at`, `stop_at`, `fail_at` and the like has counted since."""
        return self._control.strike.count

    def _set(self, values: ctypes.Array[ctypes.c_uint64], value: int, kinds: tuple[str, ...]) -> None:
        for kind in kinds or KINDS:
            values[KINDS.index(kind)] = value

    def _strike(
        self,
        n: int,
        kinds: tuple[str, ...],
        signal_number: int,
        *,
        after: bool = False,
        torn: bool = False,
        error: int = 0,
    ) -> None:
        strike = self._control.strike
        strike.kinds = 0  # nobody may count before all else is set
        strike.count, strike.at, strike.signal, strike.error = 0, n, signal_number, error
        strike.after, strike.torn = after, torn
        strike.kinds = _bits(kinds or MUTATING)


def _bits(kinds: tuple[str, ...]) -> int:
    return sum(1 << KINDS.index(kind) for kind in set(kinds))


@functools.cache
def _library() -> Path:
    """The compiled shim; made once a session."""
    if sys.platform != "linux" or shutil.which("gcc") is None:
        skip_unless_required("FAULTS", "a faulty storage needs Linux and gcc")
    folder = Path(tempfile.mkdtemp(prefix="dahps-faults-"))
    _remove_at_exit(folder, os.getpid())
    library = folder / "storage.so"
    if {" ", ":"} & set(str(library)):
        raise ValueError(f"LD_PRELOAD cannot name {library}: set TMPDIR to a path without spaces and colons")
    source = Path(__file__).with_suffix(".c")
    options = ("-shared", "-fPIC", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror")
    subprocess.run(["gcc", *options, "-o", library, source, "-ldl"], check=True)
    return library


def _remove_at_exit(folder: Path, pid: int) -> None:
    def remove() -> None:
        if os.getpid() == pid:  # a forked child leaves it to its parent
            shutil.rmtree(folder)

    atexit.register(remove)
