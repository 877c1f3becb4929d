"""The signals that a scheduler sends to a job, and handlers that hold for a while."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

#: To all processes of a job, most of them: to end it, or to announce its end.
JOB_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def ignored(number: int, frame: FrameType | None) -> None:
    """Do nothing, as a handler; a program that is started in its place has the default one."""


def can_be_handled() -> bool:
    """Return whether handlers can be set here: only the main thread receives signals."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def handled(numbers: Iterable[int], handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Set `handler` for these signals, where that is possible, and restore the former handlers afterwards."""
    before = {number: signal.signal(number, handler) for number in numbers} if can_be_handled() else {}
    try:
        yield
    finally:
        for number, earlier in before.items() if can_be_handled() else ():
            signal.signal(number, earlier)
