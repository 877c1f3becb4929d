"""The tree of a search space as a graph in which equal subtrees are one, and every subtree is counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from typing import Any

from dahps_core.model.combination import Value, canonical
from dahps_core.space.path import Path, value_step


@dataclass(frozen=True)
class Node:
    """One level of the tree, with a subtree per value.

    Attributes:
        key: What the level decides.
        values: What it can take, in grid order.
        children: The number of each value's subtree; None where the value ends the path.
        ends: How many combinations begin with this value or an earlier one.
    """

    key: str
    values: tuple[Value, ...]
    children: tuple[int | None, ...]
    ends: tuple[int, ...]

    def branches(self) -> Iterator[tuple[Value, int | None]]:
        """Yield each value with the number of its subtree."""
        return zip(self.values, self.children, strict=True)


class Tree:
    """Nodes by number, children before their parents; no two nodes are equal.

    Attributes:
        nodes: The distinct nodes, in the order of their addition.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._numbers: dict[tuple[str, str, tuple[int | None, ...]], int] = {}

    def add(self, key: str, values: Sequence[Value], children: Sequence[int | None]) -> int:
        """Return the number of the node, a new one only if no equal node was added before."""
        identity = (key, canonical(list(values)), tuple(children))
        number = self._numbers.setdefault(identity, len(self.nodes))
        if number == len(self.nodes):
            ends = accumulate(self.count(child) for child in children)
            self.nodes.append(Node(key, tuple(values), tuple(children), tuple(ends)))
        return number

    def graft(self, definition: Mapping[str, Any]) -> int | None:
        """Add the nodes of a space's definition; the number that its root has here."""
        numbers: list[int] = []
        for node in definition["nodes"]:
            children = [None if child is None else numbers[child] for child in node["children"]]
            numbers.append(self.add(node["key"], node["values"], children))
        root: int | None = definition["root"]
        return None if root is None else numbers[root]

    def node(self, number: int | None) -> Node | None:
        """Return the node with a number; None for a leaf."""
        return None if number is None else self.nodes[number]

    def count(self, number: int | None) -> int:
        """Return how many paths lead from a node to leaves; 1 from a leaf itself."""
        return 1 if number is None else self.nodes[number].ends[-1]

    def alike(self, root: int | None) -> dict[str, Value]:
        """Return key -> value for each key that has one and the same value on every path from a node."""
        found: list[dict[str, Value]] = []
        for node in self.nodes:
            paths = [
                {node.key: value, **({} if child is None else found[child])}
                for value, child in node.branches()
            ]
            common = {(key, canonical(value)) for key, value in paths[0].items()}
            for path in paths[1:]:
                common &= {(key, canonical(value)) for key, value in path.items()}
            found.append({key: value for key, value in paths[0].items() if (key, canonical(value)) in common})
        return {} if root is None else found[root]

    def unordered(self, root: int | None) -> str:
        """Return what two subtrees have in common that differ at most in the order of their values."""
        found: list[str] = []
        for node in self.nodes:
            branches = sorted(
                [canonical(value), "" if child is None else found[child]] for value, child in node.branches()
            )
            found.append(sha256(canonical([node.key, branches]).encode()).hexdigest())
        return "" if root is None else found[root]

    def walk(self, root: int | None) -> Iterator[tuple[Path, Node]]:
        """Yield each node below the root once, with the first path to it, parents first."""
        seen = set()
        waiting = [(Path("root"), root)]
        while waiting:
            path, number = waiting.pop()
            if number is None or number in seen:
                continue
            seen.add(number)
            node = self.nodes[number]
            yield path, node
            passed = path.passed(node.key)
            below = [(passed / value_step(value), child) for value, child in node.branches()]
            waiting += reversed(below)
