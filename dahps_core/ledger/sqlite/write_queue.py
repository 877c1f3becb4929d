"""The gate: where writers queue, so that the kernel or the file server serves them in turn.

It gives fairness alone; what keeps two writers apart is SQLite's own lock. So a gate that does not work, or
that a stopped process holds, costs speed and never correctness.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")

#: How long to queue in seconds while no one is seen to be served.
PATIENCE_S = 30.0


class Gate:
    """A blocking fcntl lock on a file; one writer of all hosts is inside at a time.

    fcntl rather than flock: an flock is inherited over a fork, and kept by the child when its parent is gone.

    Args:
        path: The file; made when it is needed first.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._inside = threading.Lock()  # an fcntl lock belongs to the process: it keeps no threads apart
        self._turn: threading.Thread | None = None
        self._descriptor: int | None = None

    def pass_with(self, work: Callable[[], T], is_hopeless: Callable[[], bool]) -> T:
        """Call `work` inside the gate; without blocking locks, or when waiting is hopeless, outside of it.

        Args:
            work: Called once, perhaps by another thread.
            is_hopeless: Called every `PATIENCE_S`: whether no one has been served meanwhile.
        """
        with self._inside:
            try:
                is_open = self._call(fcntl.LOCK_EX | fcntl.LOCK_NB)
                if is_open or (self._turn is not None and self._turn.is_alive()):
                    return work()  # a turn that is still stuck in the queue is a gate that does not work
            finally:
                # Whether or not it was locked: a signal's exception may come between any two lines.
                self._call(fcntl.LOCK_UN)
            self._turn = turn = _Turn(self._call, work)
            return turn.taken(is_hopeless)

    def _call(self, operation: int) -> bool:
        try:
            fcntl.lockf(self._opened(), operation)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                self.forget()  # the storage was gone, and with it the file that was opened
            return False
        return True

    def _opened(self) -> int:
        # Never closed while the process lives: closing any descriptor of a file drops all its locks.
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        return self._descriptor

    def forget(self) -> None:
        """Give the descriptor back: in a forked child, or where it is of no use any more."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)


class _Turn(threading.Thread, Generic[T]):
    """A place in the queue, in a thread, since nothing else ends a blocking lock call after a while.

    The thread that was served does the work as well: to wake another one would keep all others waiting.
    """

    def __init__(self, call: Callable[[int], bool], work: Callable[[], T]) -> None:
        super().__init__(name="gate", daemon=True)
        self._call = call
        self._work = work
        self._is_taken = threading.Lock()  # by the thread that does the work: this one, or its predecessor
        self._future: Future[T] = Future()

    def taken(self, is_hopeless: Callable[[], bool]) -> T:
        """Return what the work returned, in the queue's order, or at once if waiting is hopeless."""
        try:
            self.start()
        except RuntimeError:  # too many threads; or the interpreter is at its end, and starts none any more
            return self._work()
        try:
            while self.is_alive() and not is_hopeless():
                self.join(PATIENCE_S)
        finally:
            has_given_up = self._is_taken.acquire(blocking=False)
        return self._work() if has_given_up else self._future.result()

    def run(self) -> None:
        """Queue, work, and let the next one in."""
        self._call(fcntl.LOCK_EX)
        try:
            if self._is_taken.acquire(blocking=False):
                self._future.set_result(self._work())
        except BaseException as error:
            self._future.set_exception(error)
        finally:
            self._call(fcntl.LOCK_UN)


_gates: dict[str, Gate] = {}
_registry = threading.Lock()


def gate_at(path: str | os.PathLike[str]) -> Gate:
    """Return the process's only gate at a path."""
    real_path = os.path.realpath(path)
    with _registry:
        return _gates.setdefault(real_path, Gate(real_path))


def _reset_after_fork() -> None:
    # The child holds none of its parent's locks, but would inherit locked `threading.Lock`s.
    global _registry
    _registry = threading.Lock()
    for gate in _gates.values():
        gate.forget()
    _gates.clear()


os.register_at_fork(after_in_child=_reset_after_fork)
