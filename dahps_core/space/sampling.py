"""A few combinations that represent a whole space: together they take each branch of the tree."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from dahps_core.space.tree import Tree


def covering(tree: Tree, root: int | None) -> Iterator[int]:
    """Return positions of combinations such that each value of each distinct node is in one of them.

    As many as it takes on the way down, parents first; never more than there are values in all nodes.
    """
    if root is None:
        yield 0
        return
    above = _ways_to(tree, root)
    left = {number: deque(tree.nodes[number].extremes()) for number in above}
    for number in above:
        while left[number]:
            yield _position_above(tree, above, number) + _position_below(tree, left, number)


def _ways_to(tree: Tree, root: int) -> dict[int, tuple[int, int] | None]:
    """Map each node below the root to a parent and the choice there; parents first."""
    above: dict[int, tuple[int, int] | None] = {root: None}
    waiting = deque([root])
    while waiting:
        number = waiting.popleft()
        for choice in tree.nodes[number].extremes():
            child = tree.nodes[number].children[choice]
            if child is not None and child not in above:
                above[child] = (number, choice)
                waiting.append(child)
    return above


def _position_above(tree: Tree, above: dict[int, tuple[int, int] | None], number: int) -> int:
    position = 0
    way = above[number]
    while way is not None:
        position += _begin(tree, *way)
        way = above[way[0]]
    return position


def _position_below(tree: Tree, left: dict[int, deque[int]], number: int) -> int:
    position = 0
    place: int | None = number
    while place is not None:
        choice = left[place].popleft() if left[place] else 0
        position += _begin(tree, place, choice)
        place = tree.nodes[place].children[choice]
    return position


def _begin(tree: Tree, number: int, choice: int) -> int:
    """Return how many combinations of a node come before those of a choice."""
    return tree.nodes[number].ends[choice - 1] if choice else 0
