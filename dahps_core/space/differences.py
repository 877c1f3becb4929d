"""What sets two search spaces apart, in lines for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from dahps_core.model.combination import Value, canonical
from dahps_core.space.listed import Listed
from dahps_core.space.path import Path, shown, value_step
from dahps_core.space.tree import Node, Tree

#: A place, with what the old tree and the new one have there.
_Pair: TypeAlias = "tuple[Path, Node | None, Node | None]"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Yield a line for each thing that `new` adds, removes or changes; both are definitions."""
    lines = [*_in_common(old["common"], new["common"]), *_in_trees(old, new)]
    if old["repetitions"] != new["repetitions"]:
        lines.append(f"repetitions: {old['repetitions']} became {new['repetitions']}")
    return lines


def _in_common(old: Mapping[str, Value], new: Mapping[str, Value]) -> Iterator[str]:
    for key in dict.fromkeys([*old, *new]):
        path = Path("common") / key
        if key not in old:
            yield f"{path}: added, {shown(new[key])}"
        elif key not in new:
            yield f"{path}: removed, it was {shown(old[key])}"
        elif canonical(old[key]) != canonical(new[key]):
            yield f"{path}: {shown(old[key])} became {shown(new[key])}"


def _in_trees(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    # Both in one tree: there, equal subtrees are one node, and need no look inside.
    tree = Tree()
    waiting: list[_Pair] = [(Path("root"), tree.node(tree.graft(old)), tree.node(tree.graft(new)))]
    seen = set()
    while waiting:
        path, before, after = waiting.pop()
        if before is after or (id(before), id(after)) in seen:
            continue
        seen.add((id(before), id(after)))
        if before and after and before.key == after.key:
            yield from _in_values(path, before, after)
            further = list(_below_shared_values(tree, path, before, after))
        else:
            line, further = _in_levels(tree, path, before, after)
            yield f"{path}: {line}"
        waiting += reversed(further)


def _in_values(path: Path, before: Node, after: Node) -> Iterator[str]:
    if isinstance(before.values, Listed) or isinstance(after.values, Listed):
        old_and_new = [_interval_or_list(node) for node in (before, after)]
        if old_and_new[0] != old_and_new[1]:
            yield f"{path} ({before.key}): {old_and_new[0]} became {old_and_new[1]}"
        return
    if before.weights != after.weights:
        yield f"{path} ({before.key}): other weights"
    old, new = [[canonical(value) for value in node.values] for node in (before, after)]
    level = f"{path} ({before.key})"
    if added := Counter(new) - Counter(old):
        yield f"{level}: values added: {_listed(after.values, added)}"
    if removed := Counter(old) - Counter(new):
        yield f"{level}: values removed: {_listed(before.values, removed)}"
    if not added and not removed and old != new:
        yield f"{level}: values in another order"


def _interval_or_list(node: Node) -> str:
    if not isinstance(node.values, Listed):
        return f"[{', '.join(map(shown, node.values))}]"
    interval = node.values.interval
    words = [f"{shown(interval.low)}..{shown(interval.high)}", *(["log"] if interval.log else [])]
    words += [f"step {shown(interval.step)}"] if interval.step is not None else []
    return ", ".join(words) + ("" if len(node.values) == len(interval) else f", {len(node.values):,} values")


def _listed(values: Iterable[Value], texts: Iterable[str]) -> str:
    by_text = {canonical(value): value for value in values}
    return ", ".join(shown(by_text[text]) for text in texts)


def _below_shared_values(tree: Tree, path: Path, before: Node, after: Node) -> Iterator[_Pair]:
    new_children = {canonical(value): child for value, child in after.branches()}
    for value, child in before.branches():
        if (text := canonical(value)) in new_children:
            place = path.passed(before.key) / value_step(value)
            yield place, tree.node(child), tree.node(new_children[text])


def _in_levels(tree: Tree, path: Path, before: Node | None, after: Node | None) -> tuple[str, list[_Pair]]:
    """Compare two subtrees that begin with different keys; return where to look further."""
    added = list(_beginning_with(before, tree, path, after))
    removed = list(_beginning_with(after, tree, path, before))
    if after and (added or before is None):
        return f"level {shown(after.key)} added", [(place, before, node) for place, node in added]
    if before and (removed or after is None):
        return f"level {shown(before.key)} removed", [(place, node, after) for place, node in removed]
    old_and_new = " became ".join(shown(node.key) for node in (before, after) if node)
    return f"level {old_and_new}", []


def _beginning_with(
    sought: Node | None, tree: Tree, path: Path, node: Node | None
) -> Iterator[tuple[Path, Node]]:
    """Return the subtrees of a node that begin with another node's key."""
    if not node or not sought:
        return
    for value, child in node.branches():
        below = tree.node(child)
        if below and below.key == sought.key:
            yield path.passed(node.key) / value_step(value), below
