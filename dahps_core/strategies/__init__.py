"""Strategies: in which order a space is searched.

A strategy is pure: what it answers depends on its arguments alone, never on a clock, memory, or the ledger.
"""

from __future__ import annotations

from collections.abc import Callable

from dahps_core.strategies.base import Order
from dahps_core.strategies.grid import grid_order
from dahps_core.strategies.random import random_order

#: By the name that `strategy.name` gives: (size of the space, seed) -> order. `random` draws each value of a
#: node alike, `uniform` each combination.
STRATEGIES: dict[str, Callable[[int, int], Order]] = {
    "grid": grid_order,
    "random": random_order,
    "uniform": random_order,
    "hyperband": random_order,
    "asha": random_order,
}

#: Those that promote the best trials to more resource; `asha` is `hyperband` with one bracket.
WITH_LEVELS = ("hyperband", "asha")

#: Those that draw level by level, and complete in the order above what is left.
BY_LEVEL = ("random", "hyperband", "asha")

#: Those that draw in the order of the tree, which is a part of the search then.
IN_ORDER = ("grid",)

__all__ = ["BY_LEVEL", "IN_ORDER", "STRATEGIES", "WITH_LEVELS", "Order"]
