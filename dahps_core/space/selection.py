"""A tree without some of its paths, which are never walked one by one: a product of tree and automaton."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Generic, Protocol, TypeAlias, TypeVar

from dahps_core.space.conditions import Condition
from dahps_core.space.listed import Listed, Part
from dahps_core.space.tree import Node, Tree

State = TypeVar("State")
#: Positions of a node's values that lead on alike: where they begin and end.
_Piece: TypeAlias = "tuple[int, int]"


class Automaton(Protocol[State]):
    """Which paths stay, decided by what a path has passed; states can be keys of a mapping."""

    @property
    def start(self) -> State:
        """The state of an empty path."""
        ...

    def conditions(self, state: State, key: str) -> Sequence[Condition]:
        """Return the conditions that matter at a key."""
        ...

    def after(self, state: State, key: str, fulfilled: Sequence[bool]) -> State | None:
        """Return the state after a value that fulfils some of the conditions; None if the path goes."""
        ...

    def reduced(self, state: State, number: int | None) -> State:
        """Return the state without what no longer matters at a node; None: at a leaf."""
        ...

    def accepts(self, state: State) -> bool:
        """Return whether a path may end in a state."""
        ...


class TooManyNodesError(Exception):
    """The selection would need more nodes than allowed."""


class Selection(Generic[State]):
    """The paths of a tree that an automaton accepts, as a tree.

    Args:
        tree: All paths.
        automaton: Accepts those that stay.
        most_nodes: The limit of nodes; None: no limit.
    """

    def __init__(self, tree: Tree, automaton: Automaton[State], most_nodes: int | None = None) -> None:
        self._tree = tree
        self._automaton = automaton
        self._most = most_nodes

    def select(self, root: int | None) -> tuple[Tree, int | None] | None:
        """Return the tree of the paths that stay, in their order, and its root; None if none stays.

        Raises:
            TooManyNodesError: There is a limit, and it would be exceeded.
        """
        selected = Tree()
        start = self._place(root, self._automaton.start)
        numbers: dict[tuple[int | None, State], int] = {}
        for place in self._in_post_order(start):
            kept = [
                (piece, None if child[0] is None else numbers[child])
                for piece, child in self._branches(place)
                if (self._automaton.accepts(child[1]) if child[0] is None else child in numbers)
            ]
            if kept:
                numbers[place] = _add(selected, self._tree.nodes[place[0]], kept)
        if start[0] is None:
            return (selected, None) if self._automaton.accepts(start[1]) else None
        return (selected, numbers[start]) if start in numbers else None

    def _place(self, number: int | None, state: State) -> tuple[int | None, State]:
        return number, self._automaton.reduced(state, number)

    def _branches(self, place: tuple[int, State]) -> Iterator[tuple[_Piece, tuple[int | None, State]]]:
        number, state = place
        node = self._tree.nodes[number]
        conditions = self._automaton.conditions(state, node.key)
        for start, stop in _pieces(node, conditions):
            value = node.values[start]
            fulfilled = [condition.admits(value) for condition in conditions]
            after = self._automaton.after(state, node.key, fulfilled)
            if after is not None:
                yield (start, stop), self._place(node.children[start], after)

    def _in_post_order(self, start: tuple[int | None, State]) -> list[tuple[int, State]]:
        """Return the places of all paths, children before parents; by a loop: a tree may be of any depth."""
        order: list[tuple[int, State]] = []
        seen: set[tuple[int | None, State]] = set()
        waiting = [(start, False)]
        while waiting:
            place, is_done = waiting.pop()
            number, state = place
            if number is None:
                continue
            if is_done:
                order.append((number, state))
            elif place not in seen:
                seen.add(place)
                if self._most is not None and len(seen) > self._most:
                    raise TooManyNodesError
                waiting.append((place, True))
                waiting += [(child, False) for _, child in reversed(list(self._branches((number, state))))]
        return order


def _pieces(node: Node, conditions: Sequence[Condition]) -> Iterator[_Piece]:
    """Yield the positions of a node's values, in pieces that the conditions do not divide."""
    if not isinstance(node.values, Listed):
        yield from ((position, position + 1) for position in range(len(node.values)))
        return
    cuts = sorted({cut for condition in conditions for cut in condition.cuts(node.values)})
    position = 0
    for part in node.values.parts:
        inside = [part.start, *(cut for cut in cuts if part.start < cut < part.stop), part.stop]
        for start, stop in pairwise(inside):
            yield position, position + stop - start
            position += stop - start


def _add(tree: Tree, node: Node, kept: Sequence[tuple[_Piece, int | None]]) -> int:
    if isinstance(node.values, Listed):
        parts = []
        for (start, stop), child in kept:
            first = node.values.in_interval(start)
            parts.append(Part(first, first + stop - start, child))
        return tree.add_interval(node.key, node.values.interval, parts)
    values = [node.values[start] for (start, _), _ in kept]
    weights = node.weights and [node.weights[start] for (start, _), _ in kept]
    return tree.add(node.key, values, [child for _, child in kept], weights if any(weights or ()) else None)
