"""The tree of a search space as a graph in which equal subtrees are one, and every subtree is counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from hashlib import sha256
from itertools import accumulate, pairwise
from typing import Any

from dahps_core.model.combination import Value, canonical
from dahps_core.space.interval import Interval
from dahps_core.space.listed import Children, Ends, Listed, Part
from dahps_core.space.path import Path, shown, value_step


@dataclass(frozen=True)
class Node:
    """One level of the tree, with a subtree per value.

    Attributes:
        key: What the level decides.
        values: What it can take, in grid order: listed by a person, or those of an interval.
        children: The number of each value's subtree; None where the value ends the path.
        ends: How many combinations begin with this value or an earlier one.
        weights: How often a draw by levels takes each value, relative to the others; None: all alike, and
            values of an interval as that says.
    """

    key: str
    values: Sequence[Value]
    children: Sequence[int | None]
    ends: Sequence[int]
    weights: tuple[float, ...] | None = None

    @cached_property
    def positions(self) -> dict[str, list[int]]:
        """Canonical text -> the positions of the equal values: several if it is repeated."""
        found: dict[str, list[int]] = {}
        for position, value in enumerate(self.values):
            found.setdefault(canonical(value), []).append(position)
        return found

    @cached_property
    def shares(self) -> list[Fraction] | None:
        """Which share of the draws takes each value or an earlier one; None: they have no weights."""
        if self.weights is None:
            return None
        ends = list(accumulate(map(Fraction, self.weights)))
        return [end / ends[-1] for end in ends]

    @cached_property
    def repeats(self) -> bool:
        """Whether a value is listed several times."""
        return not isinstance(self.values, Listed) and len(self.positions) < len(self.values)

    def positions_of(self, value: Value, *, may_be_between: bool = False) -> list[int]:
        """Return the positions of a value; of one between listed ones, if that may be, where it leads."""
        if not isinstance(self.values, Listed):
            return self.positions.get(canonical(value), [])
        found = self.values.near(value) if may_be_between else self.values.position(value)
        return [] if found is None else [found]

    def runs(self) -> Iterator[tuple[int, int]]:
        """Yield the first and the last position of each part of an interval; of a list, each one twice."""
        if isinstance(self.values, Listed):
            yield from ((first, stop - 1) for first, stop in pairwise([0, *self.values.stops]))
        else:
            yield from ((position, position) for position in range(len(self.values)))

    def extremes(self) -> Iterator[int]:
        """Yield positions that represent all: those of each value, or of the first and last of each part."""
        for first, last in self.runs():
            yield from sorted({first, last})

    def branches(self) -> Iterator[tuple[Value, int | None]]:
        """Yield values that represent all, each with the number of its subtree."""
        return ((self.values[position], self.children[position]) for position in self.extremes())

    def steps(self) -> Iterator[tuple[str, int | None]]:
        """Yield each way down with its name, and the number of the subtree that it leads to."""
        if isinstance(self.values, Listed):
            interval = self.values.interval
            for part in self.values.parts:
                yield f"{shown(interval[part.start])}..{shown(interval[part.stop - 1])}", part.child
        else:
            yield from ((value_step(value), child) for value, child in self.branches())

    def definition(self) -> dict[str, Any]:
        """Return the node as JSON types."""
        if isinstance(self.values, Listed):
            parts = [[part.start, part.stop, part.child] for part in self.values.parts]
            return {"key": self.key, "interval": self.values.interval.definition(), "parts": parts}
        found = {"key": self.key, "values": list(self.values), "children": list(self.children)}
        return found | ({} if self.weights is None else {"weights": list(self.weights)})


class Tree:
    """Nodes by number, children before their parents; no two nodes are equal.

    Attributes:
        nodes: The distinct nodes, in the order of their addition.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._numbers: dict[tuple[object, ...], int] = {}

    def add(
        self,
        key: str,
        values: Sequence[Value],
        children: Sequence[int | None],
        weights: Sequence[float] | None = None,
    ) -> int:
        """Return the number of the node, a new one only if no equal node was added before."""
        identity = (key, canonical(list(values)), tuple(children), tuple(weights or ()))
        number = self._numbers.setdefault(identity, len(self.nodes))
        if number == len(self.nodes):
            ends = tuple(accumulate(self.count(child) for child in children))
            drawn = None if weights is None else tuple(weights)
            self.nodes.append(Node(key, tuple(values), tuple(children), ends, drawn))
        return number

    def add_interval(self, key: str, interval: Interval, parts: Sequence[Part]) -> int:
        """Return the number of the node of parts of an interval; adjoining parts are joined if alike."""
        joined: list[Part] = []
        for part in parts:
            if joined and joined[-1].stop == part.start and joined[-1].child == part.child:
                joined[-1] = replace(joined[-1], stop=part.stop)
            else:
                joined.append(part)
        listed = Listed(interval, tuple(joined))
        # By its text: to Python 1 and 1.0 are equal.
        identity = (key, canonical(interval.definition()), listed.parts)
        number = self._numbers.setdefault(identity, len(self.nodes))
        if number == len(self.nodes):
            ends = Ends(listed, [self.count(part.child) for part in listed.parts])
            self.nodes.append(Node(key, listed, Children(listed), ends))
        return number

    def graft(self, definition: Mapping[str, Any]) -> int | None:
        """Add the nodes of a space's definition; the number that its root has here."""
        numbers: list[int] = []
        for node in definition["nodes"]:
            if "interval" in node:
                interval = Interval.from_definition(node["interval"])
                parts = [
                    Part(start, stop, None if child is None else numbers[child])
                    for start, stop, child in node["parts"]
                ]
                numbers.append(self.add_interval(node["key"], interval, parts))
            else:
                children = [None if child is None else numbers[child] for child in node["children"]]
                numbers.append(self.add(node["key"], node["values"], children, node.get("weights")))
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
            weights = node.weights or [1.0] * len(node.values)
            branches = sorted(
                [canonical(value), "" if child is None else found[child], str(weight)]
                for (value, child), weight in zip(node.branches(), weights, strict=False)
            )
            same = node.values.interval.definition() if isinstance(node.values, Listed) else None
            what = [node.key, branches] if same is None else [node.key, branches, same]
            found.append(sha256(canonical(what).encode()).hexdigest())
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
            below = [(passed / step, child) for step, child in node.steps()]
            waiting += reversed(below)
