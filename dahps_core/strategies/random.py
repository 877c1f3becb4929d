"""Random search: a seeded order that never repeats."""

from __future__ import annotations

from dahps_core.space.permutation import Permutation
from dahps_core.strategies.base import Order


def random_order(size: int, seed: int) -> Order:
    """Return a permutation of `range(size)` that the seed determines, the same on every machine."""
    return Permutation(size, seed)
