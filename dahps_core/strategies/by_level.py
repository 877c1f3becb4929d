"""Drawing level by level: at each node one of its values, by weight, whatever the sizes of their branches."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from itertools import count

from dahps_core.space import SearchSpace
from dahps_core.space.place import Place

#: How often a draw is repeated that was drawn before; then the cursor's order completes what is left.
MOST_DRAWS = 100

_ONE = 2**64
_MOST_TRIES = 64


def draw_by_level(space: SearchSpace, seed: int, number: int, attempt: int) -> int:
    """Return the position of a combination in the grid, the same on every machine.

    Args:
        space: All combinations.
        seed: Of the search.
        number: Of the draw.
        attempt: From 0: how often this draw was repeated, as its combination had been drawn before.
    """
    shares = _shares(f"{seed:x}:{number}:{attempt}:")
    index = 0
    place = space.root
    while place is not None:
        choice = _choice(place, shares)
        index += place.n_before(choice)
        place = place.below(choice)
    return index


def _choice(place: Place, shares: Iterator[int]) -> int:
    if place.interval is not None:
        for share, _ in zip(shares, range(_MOST_TRIES), strict=False):
            found = place.nearest(Fraction(share, _ONE))
            if found is not None:  # else it lies in a part that is excluded
                return found
    share = next(shares)
    if place.shares is None:
        return share * len(place.values) // _ONE
    return bisect_right(place.shares, Fraction(share, _ONE))


def _shares(key: str) -> Iterator[int]:
    """Yield numbers below 2^64 that a key determines."""
    for number in count():
        yield int.from_bytes(hashlib.shake_128(f"{key}{number}".encode()).digest(8), "big")
