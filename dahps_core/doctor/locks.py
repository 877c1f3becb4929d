"""Byte-range locks: do they exclude, are they dropped with their holder, do they wake those who wait?"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dahps_core.doctor.member import SLOW_FACTOR, Check
from dahps_core.process.linux import die_with

#: Where SQLite puts its locks in a database: far beyond the data.
SQLITES_BYTE = 0x40000000
#: How long a waiter may sleep on, in seconds, when the lock is free: longer, and turns are not fair.
WAKE_LIMIT_S = 10.0
#: How long the lock of a killed holder may last, in seconds: then the ledger is taken to be locked for ever.
RELEASE_LIMIT_S = 20.0
#: For a process to get from its last word into the lock call, in seconds.
SETTLE_S = 0.1
#: Between reading a counter and writing it, in seconds: so that without locks two would meet there.
THINK_S = 0.0005
_COUNTER = struct.Struct("<Q")


class Excluding(Check):
    """One process holds a lock of a whole file, as the gate does, and is killed; all others request it."""

    name = "excluding"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._path = self.me.folder / "held"

    def prepare(self) -> None:
        """Create the file."""
        if self.me.is_first:
            self._path.touch()

    def run(self) -> dict[str, Any]:
        """Return `tried`: the outcome while another held it; `woke_s`, `freed_s`: the delay after
        its death.
        """
        if self.me.is_first:
            return self._hold()
        self.me.meet("held")
        tried = _tried(self._path)
        is_held = self.me.meeting.report("held")["held"] == "granted"
        waiter = _Helper(_wait_for_lock, self._path) if is_held and self.me.index else None
        try:
            if waiter:
                waiter.word(WAKE_LIMIT_S)  # it is about to wait
            self.me.meet("waiting")
            self.me.meet("killed")
            return {"tried": tried, **(self._woken(waiter) if waiter else {})}
        finally:
            if waiter:
                waiter.kill()

    def _hold(self) -> dict[str, Any]:
        holder = _Helper(_hold_until_killed, self._path)
        try:
            word = holder.word(SLOW_FACTOR * self.me.seconds + WAKE_LIMIT_S)
            self.me.meet("held", {"held": word})
            self.me.meet("waiting")
            time.sleep(SETTLE_S)
        finally:
            holder.kill()
        self.me.meet("killed")
        return {"held": word}

    def _woken(self, waiter: _Helper) -> dict[str, Any]:
        since = time.monotonic()
        if (word := waiter.word(WAKE_LIMIT_S)) is not None:
            return {"woke": word, "woke_s": time.monotonic() - since}
        waiter.kill()
        while (tried := _tried(self._path)) != "granted":
            if time.monotonic() - since > WAKE_LIMIT_S + RELEASE_LIMIT_S:
                return {"woke": None, "freed": tried}
            time.sleep(0.1)
        return {"woke": None, "freed": tried, "freed_s": time.monotonic() - since}


class Counting(Check):
    """All increment one counter, each time under the lock that SQLite takes in a database."""

    name = "counting"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._path = self.me.folder / "counter"

    def prepare(self) -> None:
        """Create the counter, at 0."""
        if self.me.is_first:
            self._path.write_bytes(_COUNTER.pack(0))

    def run(self) -> dict[str, Any]:
        """Return how often this member incremented it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            mine = self._count(descriptor)
        finally:
            os.close(descriptor)
        return {"mine": mine}

    def _count(self, descriptor: int) -> int:
        mine = 0
        # A member that has had no turn yet continues for longer, since all others may be waiting for the
        # disk.
        since = time.monotonic()
        while (spent := time.monotonic() - since) < self.me.seconds or (
            not mine and spent < self.me.seconds * SLOW_FACTOR
        ):
            if not _is_taken(descriptor, SQLITES_BYTE, 1):
                time.sleep(random.uniform(0, 0.002))
                continue
            try:
                _increment(descriptor)
                mine += 1
            finally:
                fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, SQLITES_BYTE)
        return mine


class Summing(Check):
    """The first process looks at the counter in the end."""

    name = "summing"

    def run(self) -> dict[str, Any] | None:
        """Return its value."""
        if not self.me.is_first:
            return None
        return {"sum": _COUNTER.unpack((self.me.folder / "counter").read_bytes())[0]}


def _increment(descriptor: int) -> None:
    (value,) = _COUNTER.unpack(os.pread(descriptor, _COUNTER.size, 0))
    time.sleep(THINK_S)
    os.pwrite(descriptor, _COUNTER.pack(value + 1), 0)


def _is_taken(descriptor: int, start: int = 0, length: int = 0) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _tried(path: Path) -> str:
    """Try to take the lock and give it back: "granted", "refused", or the error."""
    try:
        with open(path, "r+b") as file:
            return "granted" if _is_taken(file.fileno()) else "refused"
    except OSError as error:
        return str(error.strerror)


class _Helper:
    """A process that can be killed while it holds a lock or waits for one."""

    def __init__(self, function: Callable[[Path, Connection], None], path: Path) -> None:
        context = get_context("fork")
        self._words, words = context.Pipe(duplex=False)
        arguments = os.getpid(), function, path, words
        self._process = context.Process(target=_help, args=arguments, daemon=True)
        self._process.start()
        words.close()

    def word(self, limit_s: float) -> str | None:
        """Return its next message; None if there is none within this many seconds."""
        try:
            return str(self._words.recv()) if self._words.poll(limit_s) else None
        except EOFError:
            return "died"

    def kill(self) -> None:
        """Kill it without a chance to unlock."""
        if self._process.pid is not None and self._process.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
        self._process.join()
        self._words.close()


def _help(parent: int, function: Callable[[Path, Connection], None], path: Path, words: Connection) -> None:
    # Who lives on holds the pipe by which the doctor learns of its parent's death, and waits for it.
    die_with(parent)
    function(path, words)


def _hold_until_killed(path: Path, words: Connection) -> None:
    with open(path, "r+b") as file:
        try:
            deadline = time.monotonic() + WAKE_LIMIT_S
            while not (is_taken := _is_taken(file.fileno())) and time.monotonic() < deadline:
                time.sleep(0.05)
            words.send("granted" if is_taken else "refused")
        except OSError as error:
            words.send(str(error.strerror))
        while True:
            signal.pause()


def _wait_for_lock(path: Path, words: Connection) -> None:
    with open(path, "r+b") as file:
        words.send("waiting")
        try:
            fcntl.lockf(file.fileno(), fcntl.LOCK_EX)
            words.send("granted")
        except OSError as error:
            words.send(str(error.strerror))
