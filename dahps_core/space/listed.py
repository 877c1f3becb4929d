"""The listed values of an interval, or of parts of it, with a subtree per part."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from dahps_core.space.interval import Interval, Number


@dataclass(frozen=True)
class Part:
    """Successive listed values of an interval that lead to the same subtree.

    Attributes:
        start: The position of the first value in the interval.
        stop: The position after the last one.
        child: The number of the subtree; None where the values end the path.
    """

    start: int
    stop: int
    child: int | None


@dataclass(frozen=True)
class Listed(Sequence["Number"]):
    """The listed values of some parts of an interval, ascending.

    Attributes:
        interval: The whole of it.
        parts: Ascending, none of them empty; at least one.
    """

    interval: Interval
    parts: tuple[Part, ...]

    def __len__(self) -> int:
        return self.stops[-1]

    def __getitem__(self, position: Any) -> Any:
        """Return the value at a position among those of the parts."""
        if isinstance(position, slice):
            return [self[one] for one in range(*position.indices(len(self)))]
        index = range(len(self))[position]
        return self.interval[self.in_interval(index)]

    def position(self, value: object) -> int | None:
        """Return where a value is listed; None if it is not."""
        return self.drawn(self.interval.position(value))

    def near(self, value: object) -> int | None:
        """Return the position of the last listed value up to a number; None outside of the parts."""
        return self.drawn(self.interval.last_to(value))

    def in_interval(self, position: int) -> int:
        """Return where the value at a position is in the whole interval."""
        number = self.part_of(position)
        return self.parts[number].stop - self.stops[number] + position

    def part_of(self, position: int) -> int:
        """Return the number of the part that the value at a position is in."""
        return bisect_right(self.stops, position)

    def drawn(self, position: int | None) -> int | None:
        """Return where the value at a position of the interval is; None if it is in no part."""
        if position is None:
            return None
        number = bisect_right(self.parts, position, key=lambda part: part.start) - 1
        if number < 0 or position >= self.parts[number].stop:
            return None
        return position - self.parts[number].stop + self.stops[number]

    @cached_property
    def stops(self) -> list[int]:
        """How many values there are up to the end of each part."""
        return list(accumulate(part.stop - part.start for part in self.parts))


def representatives(values: Sequence[Any]) -> Sequence[Any]:
    """Return the values that represent all: of an interval its first and its last one."""
    return [values[0], values[-1]] if isinstance(values, Listed) else values


@dataclass(frozen=True)
class Children(Sequence["int | None"]):
    """The subtree of each listed value."""

    listed: Listed

    def __len__(self) -> int:
        return len(self.listed)

    def __getitem__(self, position: Any) -> Any:
        """Return the number of a subtree."""
        return self.listed.parts[self.listed.part_of(range(len(self))[position])].child


class Ends(Sequence[int]):
    """How many combinations begin with each listed value or an earlier one.

    Args:
        listed: The values.
        counts: How many combinations each part's subtree has.
    """

    def __init__(self, listed: Listed, counts: Sequence[int]) -> None:
        self._listed = listed
        self._counts = counts
        sizes = [part.stop - part.start for part in listed.parts]
        self._ends = list(accumulate(n * count for n, count in zip(sizes, counts, strict=True)))

    def __len__(self) -> int:
        return len(self._listed)

    def __getitem__(self, position: Any) -> Any:
        """Return a number of combinations."""
        index = range(len(self))[position]
        number = self._listed.part_of(index)
        return self._ends[number] - (self._listed.stops[number] - index - 1) * self._counts[number]
