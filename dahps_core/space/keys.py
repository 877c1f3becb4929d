"""Keys that would be set twice in one combination."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from dahps_core.errors import Fault
from dahps_core.space.node import RawNode
from dahps_core.space.path import shown

#: Each requires a walk through the tree, and a person reads no more.
_MAX_REPEATS = 100


def bare(key: str) -> str:
    """Return the key without the prefix that says how to set it."""
    return key.lstrip("+~")


def clashes_with_common(nodes: Sequence[RawNode], common: Iterable[str]) -> Iterator[Fault]:
    """Yield each key of `common` that a node sets again, where a node does so first."""
    first = {bare(node.key): node for node in nodes if node.key}
    for key in common:
        if node := first.get(bare(key)):
            yield Fault(str(node.path / "key"), f"{shown(node.key)} is fixed in `common`", "keep one of them")


def repeats_on_a_path(nodes: Sequence[RawNode]) -> Iterator[Fault]:
    """Yield the nodes below which their own key is decided again, from the root on.

    Args:
        nodes: Children before their parents.
    """
    # Only a key of two nodes can repeat, which few are: a set of those keys is an integer, a bit each.
    counts = Counter(bare(node.key) for node in nodes if node.key)
    bits = {key: 1 << number for number, key in enumerate(key for key in counts if counts[key] > 1)}
    below: dict[int, int] = {}
    for node in nodes:
        keys = 0
        for child in node.distinct_children:
            keys |= below[id(child)] | bits.get(bare(child.key), 0)
        below[id(node)] = keys
    repeats = ((node, below[id(node)] & bits.get(bare(node.key), 0)) for node in reversed(nodes))
    for node, bit in islice((repeat for repeat in repeats if repeat[1]), _MAX_REPEATS):
        yield _repeat(node, below, bit, bits)


def _repeat(node: RawNode, below: dict[int, int], bit: int, bits: dict[str, int]) -> Fault:
    """Return the fault of a node, at the nearest repeat of its key down the first way that leads to one."""
    repeat = node
    while repeat is node or bits.get(bare(repeat.key)) != bit:
        repeat = next(
            child
            for child in repeat.distinct_children
            if bits.get(bare(child.key)) == bit or below[id(child)] & bit
        )
    what = f"{shown(repeat.key)} is decided at {node.path} already, which leads here"
    return Fault(str(repeat.path / "key"), what, "keep one of them")
