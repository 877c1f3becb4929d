"""What tests of all kinds need."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout_s: float, what: str, pause_s: float = 0.05) -> T:
    """The first true answer of the predicate; fails if it takes longer than `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain for {what}")
        time.sleep(pause_s)
    return answer
