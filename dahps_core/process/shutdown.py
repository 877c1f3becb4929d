"""Requests to a worker to end: received at any moment, obeyed when its trial is released."""

from __future__ import annotations

import os
import signal
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

from dahps_core.process import linux
from dahps_core.process.signals import can_be_handled, handled

_ENDING = (signal.SIGTERM, signal.SIGHUP)
#: Launchers take one of these for a job that is preempted or runs into its time limit.
_LAUNCHERS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)


class Terminated(BaseException):
    """A signal ended a training function that runs in the worker's own process."""


_early: tuple[int, int] | None = None


def note_signals() -> None:
    """Note which signals arrive, whatever handles them, until a worker takes over or `noted_signals` is
    called.

    A launcher may ignore SIGTERM before its worker listens. Nor would it help to block the signal: another
    thread, of a library, would take it.
    """
    global _early
    if _early or not can_be_handled():
        return
    _early = os.pipe()
    for end in _early:
        os.set_blocking(end, False)
    signal.set_wakeup_fd(_early[1], warn_on_full_buffer=False)


def noted_signals() -> list[int]:
    """Yield the signals noted meanwhile; note none afterwards."""
    global _early
    if _early is None or not can_be_handled():
        return []
    ends, _early = _early, None
    signal.set_wakeup_fd(-1)
    noted = _read(ends[0])
    for end in ends:
        os.close(end)
    return list(noted)


def _read(pipe: int) -> bytes:
    """Return what has arrived in a pipe."""
    with suppress(BlockingIOError):
        return os.read(pipe, 4096)
    return b""


_noted_here: tuple[int, ...] | None = None


@contextmanager
def _woken(pipe: int, numbers: tuple[int, ...]) -> Iterator[None]:
    """Let the kernel note each signal that comes in this pipe, whichever thread it has chosen for it.

    A handler alone is not enough: it runs in the main thread, which a signal does not wake that another
    thread took, or that came just before it fell asleep.
    """
    global _noted_here
    if not can_be_handled():
        yield
        return
    before, _noted_here = signal.set_wakeup_fd(pipe, warn_on_full_buffer=False), numbers
    try:
        yield
    finally:
        if can_be_handled():
            signal.set_wakeup_fd(before)
            _noted_here = None


def _sleep_on() -> None:
    """Reset a forked process: its signals do not reach this one, and end it as by default.

    By the kernel itself: nothing wakes that process for a handler of Python's if it has just fallen asleep.
    """
    if _noted_here is not None and can_be_handled():
        signal.set_wakeup_fd(-1)
        for number in _noted_here:
            linux.forget_handler(number)


os.register_at_fork(after_in_child=_sleep_on)

_pipes: weakref.WeakSet[Interruption] = weakref.WeakSet()


def _close_pipes() -> None:
    """Close the pipes in a forked process, whose writes would be taken for signals."""
    for interruption in _pipes:
        interruption.close()


os.register_at_fork(after_in_child=_close_pipes)


class Interruption:
    """Whether a worker has to end, by a signal or by a person; can be waited for like a pipe.

    A signal only leaves a note, so that nothing that the worker writes is cut in two by it. The launcher's
    own handler, which may put the job back into the queue, is called once, and last of all. After waiting,
    check `is_requested`: other signals wake it too.

    Attributes:
        reason: Why the worker is to end; None while it is not.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._pid = os.getpid()
        self._received_signals: list[int] = []
        self._handled_signals: tuple[int, ...] = ()
        self._of_launcher: dict[int, Any] = {}
        self._is_raising = False
        self._readable, self._writable = os.pipe()
        self._ends: tuple[int, ...] = (self._readable, self._writable)
        for end in self._ends:
            os.set_blocking(end, False)
        _pipes.add(self)

    def fileno(self) -> int:
        """Return a descriptor that is readable once an end was requested, and sometimes without one."""
        return self._readable

    def close(self) -> None:
        """Close the pipe: nothing is received any more."""
        ends, self._ends = self._ends, ()
        for end in ends:
            os.close(end)

    def request(self, reason: str) -> None:
        """Request the worker to end; from any thread."""
        self.reason = self.reason or reason
        self._wake()

    def is_requested(self) -> bool:
        """Return whether an end was requested, by signals still pending too."""
        for number in _read(self._readable):
            if number in self._handled_signals:
                self._receive(number, None)
        if self.reason:
            self._wake()  # others may wait as well
        return bool(self.reason)

    def wait(self, timeout_s: float) -> None:
        """Sleep, but for this."""
        if wait([self._readable], timeout_s):
            self.is_requested()

    @contextmanager
    def hearing_signals(self) -> Iterator[None]:
        """Receive the signals that end a process, and those that the launcher has a handler for."""
        handlers = {number: signal.getsignal(number) for number in (*_ENDING, *_LAUNCHERS)}
        self._of_launcher = {number: handlers[number] for number in _LAUNCHERS if callable(handlers[number])}
        self._pid = os.getpid()
        # What `nohup` has made to be ignored stays ignored.
        ending = [number for number in _ENDING if handlers[number] is not signal.SIG_IGN]
        self._handled_signals = (*ending, *self._of_launcher)
        with handled(self._handled_signals, self._receive):
            for number in noted_signals():
                if number in ending:
                    self._receive(number, None)
            with _woken(self._writable, self._handled_signals):
                yield

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Let a signal end what runs in this process, by `Terminated`: there is no other process to end."""
        self._is_raising = True
        try:
            yield
        finally:
            self._is_raising = False

    def answer(self) -> None:
        """Leave as the received signals require: by the launcher's own handler, or else at once."""
        for number in self._received_signals:
            if handler := self._of_launcher.pop(number, None):
                handler(number, None)
        if self._received_signals:
            raise SystemExit(128 + self._received_signals[0])

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._writable, b"\0")  # no signal's number

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            linux.die_of(number)  # a process that a trial has forked: by the default action
        self._received_signals.append(number)
        self.request(f"{signal.Signals(number).name}: its worker had to end")
        if self._is_raising:
            raise Terminated
