"""One of the processes that try the storage out, and what they all have in common."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dahps_core.doctor.meeting import Meeting
from dahps_core.doctor.storage import is_circumstance

#: How long the others are waited for within a check, in seconds: longer than the longest check takes.
STEP_LIMIT_S = 300.0
#: The longest duration of a check, in multiples of its usual one, to do at least something on slow storage.
SLOW_FACTOR = 6


@dataclass
class Member:
    """A process that takes part in all checks.

    Attributes:
        rank: Of the command that started it.
        index: Among those of the same command.
        ranks: How many commands there are.
        per_rank: How many processes each of them started.
        folder: Where they work.
        seconds: Duration of a check, unless the storage is too slow for that.
        meeting: With all others.
    """

    rank: int
    index: int
    ranks: int
    per_rank: int
    folder: Path
    seconds: float
    meeting: Meeting = field(init=False)

    def __post_init__(self) -> None:
        self.meeting = Meeting(
            self.folder,
            self.number,
            self.size,
            lambda number: f"process {number % self.per_rank} of rank {number // self.per_rank}",
        )

    @property
    def number(self) -> int:
        """Unique among all, from 0."""
        return self.rank * self.per_rank + self.index

    @property
    def size(self) -> int:
        """How many there are in all."""
        return self.ranks * self.per_rank

    @property
    def is_first(self) -> bool:
        """Whether this member does what must be done once."""
        return self.number == 0

    def meet(self, step: str, report: Any = None) -> None:
        """Report to the others, and wait until all have reached this point."""
        self.meeting.arrive(step, report)
        self.meeting.await_all(step, STEP_LIMIT_S)

    def rounds(self, at_least: int = 1) -> Iterator[int]:
        """Count from 0 until the time is over: bounded by time and not by counts, since storage may be slow.

        Args:
            at_least: The minimum number of rounds, even if they take up to `SLOW_FACTOR` times as long.
        """
        since = time.monotonic()
        number = 0
        while (spent := time.monotonic() - since) < self.seconds or (
            number < at_least and spent < self.seconds * SLOW_FACTOR
        ):
            yield number
            number += 1


class Check:
    """Something that all members try at the same time.

    Args:
        me: The member.
    """

    #: Names the meeting after the check, at which the findings are exchanged.
    name: str

    def __init__(self, me: Member) -> None:
        self.me = me
        self._error: OSError | None = None

    def prepare(self) -> None:
        """Prepare what must exist before any member begins."""

    def run(self) -> Any:
        """Return what this member found, as JSON."""
        raise NotImplementedError

    def make_ready(self) -> None:
        """Prepare; what the storage refuses is found when the check is made."""
        try:
            self.prepare()
        except OSError as error:
            self._error = error

    def findings(self) -> Any:
        """Return what `run` found, or `{"error": ...}` where the storage refuses what it requires."""
        try:
            if self._error:
                raise self._error
            return self.run()
        except OSError as error:
            if is_circumstance(error):
                raise
            return {"error": str(error.strerror or error)}
