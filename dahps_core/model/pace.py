"""How fast a search goes, and when it may end."""

from __future__ import annotations

from collections.abc import Iterable

#: Seconds before the last end that count: what was slow or idle yesterday says nothing about today.
_LATELY_S = 3600.0


def per_hour(ends: Iterable[tuple[float, float]]) -> float | None:
    """Return how much ends in an hour, lately; None if too few trials have ended for a figure.

    Args:
        ends: When each trial ended, in seconds, and how much ended with it; in any order.
    """
    known = sorted(ends)
    known = [end for end in known if end[0] >= known[-1][0] - _LATELY_S]
    if len(known) < 2 or known[-1][0] <= known[0][0]:
        return None
    return 3600.0 * sum(amount for _, amount in known[1:]) / (known[-1][0] - known[0][0])


def shown_duration(seconds: float) -> str:
    """Format a duration in two units at most, such as `2 h 5 min`."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours == 0:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24:,} days {hours % 24} h"
