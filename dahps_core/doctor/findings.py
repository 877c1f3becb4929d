"""What was found, and the lines of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OK, SLOW, FAILED = "ok", "slow", "FAILED"


@dataclass(frozen=True)
class Examination:
    """What was found.

    Attributes:
        folder: As the user wrote it.
        hosts: Of each rank, its name, its kernel, and the facts of its storage.
        per_rank: How many processes each rank had.
        reports: Of each check, what each process found.
    """

    folder: str
    hosts: Sequence[Mapping[str, Any]]
    per_rank: int
    reports: Mapping[str, Sequence[Any]]

    @property
    def is_on_one_host(self) -> bool:
        """Whether nothing is known about what holds between hosts."""
        return len({host["kernel"] for host in self.hosts}) == 1

    def is_elsewhere(self, number: int) -> bool:
        """Return whether this process ran on another host than the first."""
        return bool(self.hosts[number // self.per_rank]["kernel"] != self.hosts[0]["kernel"])


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: For programs.
        title: For people.
        outcome: `OK`, `SLOW` (it works) or `FAILED`.
        seen: What was seen.
        numbers: What was measured.
    """

    name: str
    title: str
    outcome: str
    seen: str
    numbers: Mapping[str, float] = field(default_factory=dict)


def error_in(reports: Sequence[Any]) -> str | None:
    """Return the first error that a process reported."""
    errors = (report["error"] for report in reports if isinstance(report, dict) and report.get("error"))
    return next(errors, None)


def seconds(time_s: float) -> str:
    """Format a duration for people, with two significant digits."""
    if time_s < 0.0001:
        return "0.1 ms"
    if time_s >= 0.95:
        return f"{time_s:.1f} s"
    return f"{1000 * time_s:.0f} ms" if time_s >= 0.0095 else f"{1000 * time_s:.1f} ms"
