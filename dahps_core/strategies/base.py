"""What a strategy answers with."""

from __future__ import annotations

from typing import Protocol


class Order(Protocol):
    """A bijection on `range(size)`: position in the search -> index in the space."""

    def __getitem__(self, position: int) -> int:
        """Return the index of the combination at a position of the order, both from 0."""
        ...
