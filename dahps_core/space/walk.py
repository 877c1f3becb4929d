"""Walking through the nodes of a search space's config; by loops, since a tree may be of any depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dahps_core.errors import Fault
from dahps_core.space.node import RawNode, read_node
from dahps_core.space.path import Path, shown
from dahps_core.space.words import unwrapped


class NodeReader:
    """Reads each node once, however many places share it.

    Args:
        faults: Where the faults go.
        check_unique: Whether a repeated value is a fault.
    """

    def __init__(self, faults: list[Fault], *, check_unique: bool) -> None:
        self._faults = faults
        self._check_unique = check_unique
        self._nodes: dict[int, RawNode] = {}
        self._mappings: dict[int, tuple[Any, Any]] = {}

    def read(self, config: Any, path: Path) -> RawNode | None:
        """Return the root of the tree that a config describes; None for a leaf, and where nothing can be
        read.
        """
        above = RawNode({}, path, subtrees={None: (config, path)})
        waiting: list[RawNode | tuple[RawNode, object]] = [(above, None)]
        while waiting:
            visit = waiting.pop()
            if isinstance(visit, RawNode):
                visit.is_open = False
                continue
            parent, name = visit
            node, is_new = self._node(*parent.subtrees[name])
            parent.read[name] = node
            if node is not None and is_new:
                waiting.append(node)
                waiting += [(node, name) for name in reversed(node.subtrees)]
        return above.read[None]

    def _node(self, found: Any, path: Path) -> tuple[RawNode | None, bool]:
        """Return the node at a place, and whether it is visited for the first time."""
        mapping = self._mapping(found, path)
        if mapping is None:
            return None, False
        node = self._nodes.get(id(mapping))
        if node is None:
            node = read_node(mapping, path, self._faults, check_unique=self._check_unique)
            self._nodes[id(mapping)] = node
            return node, True
        if node.is_open:
            self._faults.append(Fault(str(path), f"leads back to {node.path}", "a tree has no cycles"))
            return None, False
        return node, False

    def _mapping(self, found: Any, path: Path) -> Mapping[Any, Any] | None:
        if found is None or isinstance(found, Mapping):
            return found
        if id(found) not in self._mappings:
            # Beside its mapping we keep what was found: an identity is only one while the object lives.
            self._mappings[id(found)] = (found, unwrapped(found, path, self._faults))
        mapping = self._mappings[id(found)][1]
        if isinstance(mapping, Mapping):
            return mapping
        self._faults.append(
            Fault(str(path), f"{shown(found)} is not a subtree", "write a node, or null for a leaf")
        )
        return None


def in_post_order(root: RawNode | None) -> list[RawNode]:
    """Return the nodes that the values lead to, children before parents, in the same order for
    equal trees.
    """
    order: list[RawNode] = []
    seen: set[int] = set()
    waiting = [(root, False)] if root else []
    while waiting:
        node, is_done = waiting.pop()
        if is_done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            waiting.append((node, True))
            waiting += [(child, False) for child in reversed(node.distinct_children)]
    return order
