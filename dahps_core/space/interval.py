"""Intervals of numbers: read as lists of values with few digits.

A real interval has its multiples of a power of ten, 100 to 1,000 of them, or, if `log`, its numbers of three
significant digits; an integer one has all its integers, or as many of them. The bounds belong to it in any
case. All of it is rational arithmetic, so that values have the same text on every machine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context
from fractions import Fraction
from functools import cached_property
from typing import Any, TypeAlias

Number: TypeAlias = "int | float"

#: An integer interval of fewer numbers has all of them.
_ALL_INTEGERS = 10_000

#: Doubles are exact to 15 digits between 1 / _LARGEST and this.
_LARGEST = 1e300
#: The least distance of bounds, and of values, relative to their size.
_CLOSEST = Fraction(1, 10**9)
_MOST_STEPS = 10**9
_MOST_DIGITS = 10**15

#: Decimal logarithms are correctly rounded on every machine, as libm's are not.
_LOGARITHMS = Context(prec=25)

#: Three significant digits: 100 to 999.
_LEAST_MANTISSA = 100
_PER_DECADE = 900


@dataclass(frozen=True)
class Interval(Sequence["Number"]):
    """All numbers from `low` to `high`, of which some are listed, in ascending order.

    Attributes:
        low: The least; if the bounds and the step are integers, so are all values.
        high: The greatest, above `low`.
        log: Whether draws are uniform in the logarithm; `low` is positive then.
        step: The distance of the values from `low` on; None: as the module describes.
    """

    low: Number
    high: Number
    log: bool = False
    step: Number | None = None

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> Interval:
        """Make the interval that a `definition` describes."""
        return cls(**definition)

    def definition(self) -> dict[str, Any]:
        """Return the interval as JSON types."""
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}

    @cached_property
    def is_integer(self) -> bool:
        """Whether all values are integers."""
        return all(type(one) is int for one in (self.low, self.high, self.step or 0))

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, position: Any) -> Any:
        """Return the value at a position."""
        if isinstance(position, slice):
            return [self[one] for one in range(*position.indices(self._size))]
        index = range(self._size)[position]
        if index == 0 and self._has_own_low:
            return self.low if self.is_integer else float(self.low)
        if index == self._size - 1 and self._has_own_high:
            return self.high if self.is_integer else float(self.high)
        exact = self._grid.value(index - self._has_own_low)
        return int(exact) if self.is_integer else float(exact)

    def position(self, value: object) -> int | None:
        """Return where a value is listed; None if it is not."""
        if not self.contains(value):
            return None
        found = self._last_to(exact_number(value))
        return found if exact_number(self[found]) == exact_number(value) else None

    def last_to(self, value: object) -> int | None:
        """Return the position of the last listed value up to a number of the interval; None outside."""
        return self._last_to(exact_number(value)) if self.contains(value) else None

    def number(self, text: str) -> Number | None:
        """Return the number of the interval that a text names, listed or not; None if it names none."""
        try:
            found = json.loads(text)
        except ValueError:
            return None
        if not self.contains(found):
            return None
        return int(found) if self.is_integer else float(found)

    def contains(self, value: object) -> bool:
        """Return whether a value is a number of the interval, listed or not."""
        if isinstance(value, bool) or not isinstance(value, int if self.is_integer else (int, float)):
            return False
        if not self.low <= value <= self.high:
            return False
        return self.step is None or (exact_number(value) - self._low) % exact_number(self.step) == 0

    def between(self, low: Number, high: Number) -> range:
        """Return the positions of the listed values from a number to another one."""
        first = self._last_to(exact_number(low))
        first += first < 0 or exact_number(self[first]) < exact_number(low)
        return range(first, self._last_to(exact_number(high)) + 1)

    def nearest(self, share: Fraction) -> int:
        """Return the position of the listed value nearest to a point, a share of the way from low to high."""
        if self.log:
            point = self._log_low + share * (self._log_high - self._log_low)
            exact = Fraction(_LOGARITHMS.exp(_LOGARITHMS.divide(point.numerator, point.denominator)))
        else:
            exact = self._low + share * (self._high - self._low)
        below = max(self._last_to(exact), 0)
        above = min(below + 1, self._size - 1)
        is_above = 2 * exact >= exact_number(self[below]) + exact_number(self[above])
        return above if is_above else below

    @cached_property
    def _size(self) -> int:
        return self._grid.size + self._has_own_low + self._has_own_high

    @cached_property
    def _low(self) -> Fraction:
        return exact_number(self.low)

    @cached_property
    def _high(self) -> Fraction:
        return exact_number(self.high)

    @cached_property
    def _log_low(self) -> Fraction:
        return _logarithm(self._low)

    @cached_property
    def _log_high(self) -> Fraction:
        return _logarithm(self._high)

    @cached_property
    def _has_own_low(self) -> bool:
        return self._grid.size == 0 or self._grid.value(0) != self._low

    @cached_property
    def _has_own_high(self) -> bool:
        if self.step is not None:
            return False
        return self._grid.size == 0 or self._grid.value(self._grid.size - 1) != self._high

    @cached_property
    def _grid(self) -> _Multiples | _Digits:
        width = self._high - self._low
        if self.step is not None:
            step = exact_number(self.step)
            return _Multiples(self._low, step, width // step + 1)
        if self.is_integer and width < _ALL_INTEGERS:
            return _Multiples(self._low, Fraction(1), int(width) + 1)
        if self.log:
            return _Digits.between(self._low, self._high, is_integer=self.is_integer)
        decade = _decade(width)
        unit = Fraction(10) ** (decade - 2 - (width == Fraction(10) ** decade))
        unit = max(unit, Fraction(1)) if self.is_integer else unit
        first, last = math.ceil(self._low / unit), math.floor(self._high / unit)
        return _Multiples(first * unit, unit, last - first + 1)

    def _last_to(self, exact: Fraction) -> int:
        """Return the position of the last listed value that is not above a number; -1 if all are."""
        if exact < self._low:
            return -1
        if exact >= self._high and self.step is None:
            return self._size - 1
        found = min(max(self._grid.floor(exact), -1), self._grid.size - 1)
        return found + self._has_own_low


@dataclass(frozen=True)
class _Multiples:
    """`size` numbers from a first one on, at equal distances."""

    first: Fraction
    unit: Fraction
    size: int

    def value(self, position: int) -> Fraction:
        return self.first + position * self.unit

    def floor(self, exact: Fraction) -> int:
        """Return the position of the last number that is not above another one, also outside."""
        return (exact - self.first) // self.unit


@dataclass(frozen=True)
class _Digits:
    """`size` numbers of three significant digits from a first one on, by their ordinals."""

    first: int
    size: int
    is_integer: bool

    @classmethod
    def between(cls, low: Fraction, high: Fraction, *, is_integer: bool) -> _Digits:
        every = cls(0, 0, is_integer)
        first = every.floor(low)
        first += every.value(first) < low
        return cls(first, max(0, every.floor(high) - first + 1), is_integer)

    def value(self, position: int) -> Fraction:
        ordinal = self.first + position
        if self.is_integer:
            if ordinal < _LEAST_MANTISSA:
                return Fraction(ordinal)
            ordinal -= _LEAST_MANTISSA
        exponent, mantissa = divmod(ordinal, _PER_DECADE)
        return (_LEAST_MANTISSA + mantissa) * Fraction(10) ** exponent

    def floor(self, exact: Fraction) -> int:
        """Return the position of the last number that is not above another one, also outside."""
        if self.is_integer and exact < _LEAST_MANTISSA:
            return math.floor(exact) - self.first
        exponent = _decade(exact) - 2
        mantissa = math.floor(exact / Fraction(10) ** exponent)
        ordinal = exponent * _PER_DECADE + mantissa - _LEAST_MANTISSA
        return ordinal + _LEAST_MANTISSA * self.is_integer - self.first


def exact_number(value: Any) -> Fraction:
    """Return a number as it is written: 0.1 is a tenth, and not the binary fraction next to it."""
    return Fraction(value) if isinstance(value, int) else Fraction(repr(value))


def _decade(exact: Fraction) -> int:
    """Return the exponent of the greatest power of ten that is not above a positive number."""
    found = len(str(exact.numerator)) - len(str(exact.denominator))
    return found if Fraction(10) ** found <= exact else found - 1


def _logarithm(exact: Fraction) -> Fraction:
    return Fraction(_LOGARITHMS.ln(_LOGARITHMS.divide(exact.numerator, exact.denominator)))


def bounds_fault(low: Number, high: Number, *, log: bool) -> str | None:
    """Return why two finite numbers cannot bound an interval; None if they can."""
    if low >= high:
        return f"{high!r} is not above {low!r}"
    if log and low <= 0:
        return f"the logarithm of {low!r} does not exist"
    if max(abs(low), abs(high)) >= _LARGEST or any(0 < abs(one) < 1 / _LARGEST for one in (low, high)):
        return f"bounds are 0, or from {1 / _LARGEST:g} to {_LARGEST:g} in magnitude"
    if exact_number(high) - exact_number(low) < _CLOSEST * max(map(exact_number, map(abs, (low, high)))):
        return f"{low!r} and {high!r} are too close to each other"
    return None


def step_fault(low: Number, high: Number, step: Number) -> str | None:
    """Return why a finite number cannot be the step of an interval; None if it can."""
    if step <= 0:
        return f"{step!r} is not positive"
    width = exact_number(high) - exact_number(low)
    if exact_number(step) > width:
        return f"{step!r} is larger than the interval"
    digits = math.lcm(exact_number(low).denominator, exact_number(step).denominator)
    if exact_number(max(abs(low), abs(high))) * digits >= _MOST_DIGITS:
        return f"values at steps of {step!r} from {low!r} on would have more than 15 digits"
    if width / exact_number(step) > _MOST_STEPS:
        return f"{step!r} is too small: at most {_MOST_STEPS:,} values are possible"
    return None


def equally_spaced(low: Number, high: Number, points: int, *, log: bool) -> Iterator[Number]:
    """Yield numbers at equal distances from `low` to `high`, both included, of three significant digits."""
    interval = Interval(low, high, log)
    for index in range(points):
        yield interval[interval.nearest(Fraction(index, points - 1))]
