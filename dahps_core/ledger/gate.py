"""The gate: where writers queue, so that the kernel or the file server serves them in turn.

It gives fairness alone; what keeps two writers apart is SQLite's own lock. So a gate that does not work, or
that a stopped process holds, costs speed and never correctness.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: How long to queue in seconds; hundreds of saturating writers are served in less.
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
        self._queue: threading.Thread | None = None
        self._descriptor: int | None = None

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Inside the gate; without blocking locks, or after `PATIENCE_S`, inside without having it."""
        with self._inside:
            try:
                if not self._call(fcntl.LOCK_EX | fcntl.LOCK_NB):
                    self._wait_in_queue()
                yield
            finally:
                # Whether or not it was locked: a signal's exception may come between any two lines.
                self._call(fcntl.LOCK_UN)

    def _wait_in_queue(self) -> None:
        # In a thread, since nothing else ends a blocking lock call after a while.
        if self._queue is not None and self._queue.is_alive():
            return  # still stuck from an earlier time
        left = threading.Event()
        self._queue = threading.Thread(target=self._lock_unless, args=(left,), name="gate", daemon=True)
        self._queue.start()
        try:
            self._queue.join(PATIENCE_S)
        finally:
            left.set()

    def _lock_unless(self, left: threading.Event) -> None:
        self._call(fcntl.LOCK_EX)
        if left.is_set():
            self._call(fcntl.LOCK_UN)

    def _call(self, operation: int) -> bool:
        with suppress(OSError):
            fcntl.lockf(self._opened(), operation)
            return True
        return False

    def _opened(self) -> int:
        # Never closed while the process lives: closing any descriptor of a file drops all its locks.
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        return self._descriptor

    def forget(self) -> None:
        """In a forked child: give back the descriptor that was inherited."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


_gates: dict[str, Gate] = {}
_registry = threading.Lock()


def gate_at(path: str | os.PathLike[str]) -> Gate:
    """The one gate that this process has at a path."""
    real_path = os.path.realpath(path)
    with _registry:
        return _gates.setdefault(real_path, Gate(real_path))


def _start_anew_after_fork() -> None:
    # The child holds none of its parent's locks, but would inherit locked `threading.Lock`s.
    global _registry
    _registry = threading.Lock()
    for gate in _gates.values():
        gate.forget()
    _gates.clear()


os.register_at_fork(after_in_child=_start_anew_after_fork)
