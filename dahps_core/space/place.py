"""The position of a walk from the root of a search space to a leaf."""

from __future__ import annotations

from dataclasses import dataclass

from dahps_core.model.combination import Value
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
    def values(self) -> tuple[Value, ...]:
        """What it can take, in grid order."""
        return self._tree.nodes[self._number].values

    @property
    def size(self) -> int:
        """How many combinations lead on from here."""
        return self._tree.count(self._number)

    def below(self, choice: int) -> Place | None:
        """Return the level below a choice, an index of `values`; None if it ends the path."""
        child = self._tree.nodes[self._number].children[choice]
        return None if child is None else Place(self._tree, child)
