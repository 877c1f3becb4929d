"""The brackets of Hyperband: the levels of resource, and how many trials start at which.

L. Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization", JMLR 18(185), 2018.
All of it is integer or rational arithmetic: floating-point logarithms lose a bracket of R = 243, eta = 3.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, TypeAlias

from dahps_core.errors import ConfigurationError
from dahps_core.text.json_text import parse_json

#: What a level gives a trial: epochs, or anything else that is counted or measured.
Resource: TypeAlias = "int | float"

#: How sizes of brackets are computed, by name: (levels above the bracket's first, all levels, eta) -> size.
SIZES: dict[str, Callable[[int, int, int], int]] = {
    # ceil(B/R * eta^s / (s + 1)) with B = (s_max + 1) R: 81, 34, 15, 8, 5 for R = 81, eta = 3.
    "algorithm_1": lambda s, n_levels, eta: -(-n_levels * eta**s // (s + 1)),
    # The same with a quotient that is rounded down: 81, 27, 9, 6, 5.
    "table_1": lambda s, n_levels, eta: n_levels // (s + 1) * eta**s,
}

#: The meaning of a trial's resource: all that it shall have used at its end, or what the rung adds to that.
MODES = ("total", "increment")

_MOST_LEVELS = 1000


@dataclass(frozen=True)
class Brackets:
    """The levels that trials are promoted by, and the bracket of each, which is the level where it starts.

    Attributes:
        levels: The resource at each level, ascending.
        eta: One in `eta` trials of a rung is promoted.
        sizes: How many trials of a round start at each of the first levels. Trials are dealt by their
            numbers, so that no state is needed: after one round comes the next.
        mode: The meaning of a trial's resource, one of `MODES`.
    """

    levels: tuple[Resource, ...]
    eta: int
    sizes: tuple[int, ...]
    mode: str = "total"

    @classmethod
    def of(
        cls,
        *,
        eta: int = 3,
        min_resource: Resource | None = None,
        max_resource: Resource | None = None,
        levels: Sequence[Resource] | None = None,
        brackets: int | None = None,
        sizes: str = "algorithm_1",
        resource: str = "total",
    ) -> Brackets:
        """Make the brackets that options describe; errors name the options as they are named here.

        Args:
            eta: At least 2.
            min_resource: The least that a trial is given: 1 if it is None.
            max_resource: The most; the levels are the quotients of it by powers of `eta`, rounded to whole
                numbers if both bounds are.
            levels: These levels, instead of the two bounds.
            brackets: How many brackets, the ones with the most levels; None: as many as there are levels.
            sizes: The name of one of `SIZES`.
            resource: One of `MODES`.

        Raises:
            ConfigurationError: An option is invalid.
        """
        _expect(type(eta) is int and eta >= 2, "eta", eta, "Give a whole number of at least 2")
        _expect(sizes in SIZES, "sizes", sizes, f"Give one of {', '.join(SIZES)}")
        _expect(resource in MODES, "resource", resource, f"Give one of {', '.join(MODES)}")
        if levels is None:
            found = _quotients(min_resource, max_resource, eta)
        else:
            _expect(
                min_resource is None, "min_resource", min_resource, "Leave it out: the levels determine it"
            )
            _expect(
                max_resource is None, "max_resource", max_resource, "Leave it out: the levels determine it"
            )
            found = _ascending(levels)
        n = len(found)
        n_brackets = n if brackets is None else brackets
        is_possible = type(n_brackets) is int and 1 <= n_brackets <= n
        _expect(is_possible, "brackets", brackets, f"Give 1 to {n}, the number of levels")
        return cls(
            found, eta, tuple(SIZES[sizes](n - 1 - first, n, eta) for first in range(n_brackets)), resource
        )

    @classmethod
    def from_json(cls, text: str) -> Brackets:
        """Read what `to_json` wrote; anything else is a ValueError or a TypeError."""
        found = parse_json(text)
        if not isinstance(found, dict):
            raise TypeError("the brackets are not a mapping")
        levels, sizes, eta = tuple(found.pop("levels")), tuple(found.pop("sizes")), found.pop("eta")
        whole = [eta - 1, *sizes] if type(eta) is int else [eta]
        if not all(type(number) is int and number >= 1 for number in whole):
            raise ValueError("the brackets have no sizes")
        if not 1 <= len(sizes) <= len(_ascending(levels)) or found.get("mode") not in MODES:
            raise ValueError("the brackets have no levels")
        return cls(levels, eta, sizes, **found)

    def to_json(self) -> str:
        """Return what the ledger keeps."""
        return json.dumps({"levels": self.levels, "eta": self.eta, "sizes": self.sizes, "mode": self.mode})

    def differences(self, other: Brackets) -> dict[str, tuple[Any, Any]]:
        """Return how two of them differ: option -> (ours, the other's)."""
        return {
            "strategy.eta": (self.eta, other.eta),
            "strategy's levels": (list(self.levels), list(other.levels)),
            "strategy's sizes of brackets": (list(self.sizes), list(other.sizes)),
            "strategy.resource": (self.mode, other.mode),
        }

    @property
    def top(self) -> int:
        """The highest level."""
        return len(self.levels) - 1

    def bracket(self, number: int) -> int:
        """Return the bracket of the trial with this number, which is its first rung."""
        return bisect_right(self._ends, number % self._ends[-1])

    def n_started(self, n_trials: int) -> list[int]:
        """Return how many of the first `n_trials` are in each bracket."""
        rounds, rest = divmod(n_trials, self._ends[-1])
        starts = (0, *self._ends)
        return [
            rounds * size + min(max(rest - start, 0), size)
            for size, start in zip(self.sizes, starts, strict=False)
        ]

    def n_top(self, n_ended: int, level: int) -> int:
        """Return how many of the trials that ended at a rung are its top, which may be promoted."""
        return 0 if level == self.top else n_ended // self.eta

    def cost(self, bracket: int, level: int) -> Resource:
        """Return what a trial of a bracket uses at a rung, going on from the rung below."""
        here = self.levels[level]
        return here if level == bracket else _plain(_exact(here) - _exact(self.levels[level - 1]))

    def cost_of(self, number: int, level: int) -> Resource:
        """Return what the trial with this number uses at a level."""
        return self.cost(self.bracket(number), level)

    def expected(self, n_trials: int, promoted: Mapping[tuple[int, int], int]) -> Resource:
        """Return what `n_trials` use if one in `eta` of each rung is promoted, or as many as were if more."""
        total = Fraction(0)
        for bracket, n in enumerate(self.n_started(n_trials)):
            for level in range(bracket, self.top + 1):
                total += n * _exact(self.cost(bracket, level))
                n = max(promoted.get((bracket, level), 0), n // self.eta)
        return _plain(total)

    def used(self, n_trials: int, promoted: Mapping[tuple[int, int], int]) -> Resource:
        """Return the resource that the first trials use, with those promoted from each (bracket, rung)."""
        started = {(bracket, bracket): n for bracket, n in enumerate(self.n_started(n_trials))}
        raised = {(bracket, level + 1): n for (bracket, level), n in promoted.items()}
        costs = [n * _exact(self.cost(*rung)) for part in (started, raised) for rung, n in part.items()]
        return _plain(sum(costs, Fraction(0)))

    def resource(self, number: int, level: int) -> Resource:
        """Return the resource of the trial with this number at a rung."""
        return self.levels[level] if self.mode == "total" else self.cost(self.bracket(number), level)

    def rungs(self, bracket: int) -> list[tuple[int, Resource]]:
        """Return the rungs of a bracket: how many of a round's trials reach each, and its resource."""
        return [
            (self.sizes[bracket] // self.eta**rung, self.levels[bracket + rung])
            for rung in range(len(self.levels) - bracket)
        ]

    @cached_property
    def _ends(self) -> tuple[int, ...]:
        return tuple(accumulate(self.sizes))


def _quotients(minimum: Any, maximum: Any, eta: int) -> tuple[Resource, ...]:
    if maximum is None:
        raise ConfigurationError(
            "max_resource is not set",
            where="max_resource",
            hint="Set it (for example 81), or list the rungs",
        )
    most = _given("max_resource", maximum)
    least = Fraction(1) if minimum is None else _given("min_resource", minimum)
    _expect(least <= most, "min_resource", least, f"It is above max_resource, {maximum}")
    found = [most]
    while found[-1] >= least * eta:
        found.append(found[-1] / eta)
        _expect_few(len(found), "min_resource", minimum)
    is_whole = most.denominator == least.denominator == 1
    half = Fraction(1, 2)
    return tuple(math.floor(level + half) if is_whole else float(level) for level in reversed(found))


def _ascending(levels: Any) -> tuple[Resource, ...]:
    found = tuple(levels) if isinstance(levels, list | tuple) else ()
    exact = [_given("levels", level) for level in found]
    is_ascending = bool(found) and all(low < high for low, high in pairwise(exact))
    _expect(is_ascending, "levels", levels, "List increasing numbers, such as [1, 3, 9]")
    _expect_few(len(found), "levels", "...")
    return found


def _given(option: str, value: Any) -> Fraction:
    is_number = type(value) in (int, float) and math.isfinite(value) and value > 0
    _expect(is_number, option, value, "Give numbers above 0")
    return _exact(value)


def _exact(value: Resource) -> Fraction:
    # As it is written: 0.1 is a tenth, and not the binary fraction next to it.
    return Fraction(repr(value))


def _plain(value: Fraction) -> Resource:
    return value.numerator if value.denominator == 1 else float(value)


def _expect_few(n_levels: int, option: str, value: Any) -> None:
    _expect(n_levels <= _MOST_LEVELS, option, value, f"That would be more than {_MOST_LEVELS} levels")


def _expect(condition: bool, option: str, value: Any, hint: str) -> None:
    if not condition:
        raise ConfigurationError(f"{value} is invalid", where=option, hint=hint)
