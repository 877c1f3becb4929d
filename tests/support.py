"""What tests of all kinds need."""

import os
import time
from collections.abc import Callable
from typing import NoReturn, TypeVar

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout_s: float, what: str, pause_s: float = 0.05) -> T:
    """The first true answer of the predicate; fails if it takes longer than `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain for {what}")
        time.sleep(pause_s)
    return answer


def skip_unless_required(need: str, reason: str) -> NoReturn:
    """Skip a test for want of something; fail it where DAHPS_REQUIRE_<need>=1 says that all can be had."""
    import pytest  # not needed in the processes that tests start

    if os.environ.get(f"DAHPS_REQUIRE_{need}") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def state_of(pid: int) -> str:
    """What the kernel says of a process: T when it is stopped, Z when it has ended and was not waited for."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]
