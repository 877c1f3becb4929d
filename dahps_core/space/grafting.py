"""`then`: what follows a node whatever was chosen below it, grafted on each leaf of its subtrees."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TypeAlias

from dahps_core.space.node import THEN, RawNode

#: A node, and what follows its leaves.
_Place: TypeAlias = "tuple[RawNode | None, RawNode | None]"
_Grafting: TypeAlias = "Generator[_Place, RawNode | None, RawNode | None]"


def grafted(root: RawNode | None) -> RawNode | None:
    """Return the tree without `then`: each node is copied once for each subtree that follows it."""
    if not _has_then(root):
        return root
    # By a loop, since a tree may be of any depth: each generator requests nodes, and gets them grafted.
    done: dict[tuple[int, int], RawNode | None] = {}
    running: list[tuple[tuple[int, int], _Grafting]] = [((id(root), id(None)), _graft(root, None))]
    answer: RawNode | None = None
    while running:
        key, grafting = running[-1]
        try:
            place = grafting.send(answer)
        except StopIteration as end:
            answer = done[key] = end.value
            running.pop()
            continue
        wanted = id(place[0]), id(place[1])
        answer = done.get(wanted)
        if wanted not in done:
            running.append((wanted, _graft(*place)))
    return answer


def _graft(node: RawNode | None, after: RawNode | None) -> _Grafting:
    if node is None:
        return after
    follows = yield node.read.get(THEN), after
    read: dict[object, RawNode | None] = {}
    for name, child in node.read.items():
        if name is None or name in node.values:
            read[name] = yield child, follows
    return replace(node, read=read)


def _has_then(root: RawNode | None) -> bool:
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node is not None and id(node) not in seen:
            seen.add(id(node))
            if THEN in node.read:
                return True
            waiting += node.read.values()
    return False
