"""How fast a search goes, and when it may end."""

from __future__ import annotations

from collections.abc import Iterable

#: Seconds before the last end that count: what was slow or idle yesterday says nothing about today.
_LATELY_S = 3600.0


def per_hour(ends: Iterable[float]) -> float | None:
    """How many trials end in an hour, lately; None if too few have ended to tell.

    Args:
        ends: When trials ended, in seconds, in any order.
    """
    times = sorted(ends)
    times = [end for end in times if end >= times[-1] - _LATELY_S]
    if len(times) < 2 or times[-1] <= times[0]:
        return None
    return 3600.0 * (len(times) - 1) / (times[-1] - times[0])


def shown_duration(seconds: float) -> str:
    """A duration in two units at most, such as `2 h 5 min`."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours == 0:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24:,} days {hours % 24} h"
