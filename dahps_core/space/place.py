"""The position of a walk from the root of a search space to a leaf."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from dahps_core.model.combination import Value
from dahps_core.space.interval import Interval
from dahps_core.space.listed import Listed
from dahps_core.space.tree import Tree


@dataclass(frozen=True)
class Place:
    """A level of the tree that has been reached, and what can be chosen there."""

    _tree: Tree
    _number: int

    @property
    def key(self) -> str:
        """What is decided here."""
        return self._tree.nodes[self._number].key

    @property
    def values(self) -> Sequence[Value]:
        """What it can take, in grid order."""
        return self._tree.nodes[self._number].values

    @property
    def shares(self) -> list[Fraction] | None:
        """Which share of the draws takes each value or an earlier one; None: all values are drawn alike."""
        return self._tree.nodes[self._number].shares

    @property
    def interval(self) -> Interval | None:
        """The interval whose listed values these are, or a part of them; None if a person listed them."""
        values = self.values
        return values.interval if isinstance(values, Listed) else None

    def nearest(self, share: Fraction) -> int | None:
        """Return the choice nearest to a point, a share of the way through the interval; None if excluded."""
        values = self.values
        assert isinstance(values, Listed)
        return values.drawn(values.interval.nearest(share))

    def near(self, value: Value) -> int | None:
        """Return the choice at or just below a number of the interval; None outside."""
        values = self.values
        assert isinstance(values, Listed)
        return values.near(value)

    def runs(self) -> Iterator[tuple[int, int]]:
        """Yield the first and the last choice of each part of an interval; of a list, each choice twice."""
        return self._tree.nodes[self._number].runs()

    def n_before(self, choice: int) -> int:
        """Return how many combinations come before those of a choice."""
        return self._tree.nodes[self._number].ends[choice - 1] if choice else 0

    @property
    def size(self) -> int:
        """How many combinations lead on from here."""
        return self._tree.count(self._number)

    def below(self, choice: int) -> Place | None:
        """Return the level below a choice, an index of `values`; None if it ends the path."""
        child = self._tree.nodes[self._number].children[choice]
        return None if child is None else Place(self._tree, child)
