"""Conditions on the value of a key: one of some values, or inside an interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dahps_core.model.combination import Value, canonical
from dahps_core.space.interval import Number
from dahps_core.space.interval_words import is_number
from dahps_core.space.listed import Listed


@dataclass(frozen=True)
class Condition:
    """What the value of one key may be.

    Attributes:
        texts: The canonical texts of single values.
        ranges: Bounds of intervals, which belong to them.
    """

    texts: frozenset[str]
    ranges: tuple[tuple[Number, Number], ...] = ()

    @classmethod
    def of(cls, found: Value) -> Condition:
        """Read a value, a list of which any element will do, or `{interval: [low, high]}`."""
        elements = found if isinstance(found, list) else [found]
        bounds = [_bounds(one) for one in elements]
        texts = [canonical(one) for one, range_ in zip(elements, bounds, strict=True) if range_ is None]
        return cls(frozenset(texts), tuple(range_ for range_ in bounds if range_ is not None))

    def admits(self, value: Value) -> bool:
        """Return whether a value fulfils the condition."""
        if canonical(value) in self.texts:
            return True
        return is_number(value) and any(low <= value <= high for low, high in self.ranges)

    def cuts(self, listed: Listed) -> Iterator[int]:
        """Yield the positions in an interval at which the condition begins or ceases to be fulfilled."""
        interval = listed.interval
        for text in self.texts:
            position = interval.position(interval.number(text))
            if position is not None:
                yield from (position, position + 1)
        for low, high in self.ranges:
            found = interval.between(low, high)
            yield from (found.start, found.stop)


def read_conditions(found: Mapping[str, Value]) -> dict[str, Condition]:
    """Return the condition of each key."""
    return {key: Condition.of(value) for key, value in found.items()}


def fulfils(combination: Mapping[str, Value], conditions: Mapping[str, Condition]) -> bool:
    """Return whether a combination has all of the keys, and fulfils the condition of each."""
    return all(key in combination and one.admits(combination[key]) for key, one in conditions.items())


def _bounds(found: Any) -> tuple[Number, Number] | None:
    if isinstance(found, Mapping) and list(found) == ["interval"]:
        bounds = found["interval"]
        if isinstance(bounds, list | tuple) and len(bounds) == 2 and all(map(is_number, bounds)):
            return bounds[0], bounds[1]
    return None
