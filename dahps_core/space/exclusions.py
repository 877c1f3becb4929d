"""`exclude`: partial combinations that never run, taken out of the tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from dahps_core.errors import Fault, SearchSpaceError
from dahps_core.model.combination import Value
from dahps_core.space.conditions import Condition, read_conditions
from dahps_core.space.entries import entries
from dahps_core.space.path import Path, shown, step
from dahps_core.space.selection import Selection, TooManyNodesError
from dahps_core.space.tree import Tree
from dahps_core.space.values import plain, value_faults
from dahps_core.space.words import key_faults

#: How many nodes a tree may have once exclusions have divided its shared subtrees.
MOST_NODES = 20_000

Conditions: TypeAlias = "dict[str, Condition]"

#: The exclusions that a path may still fall under: the number of each, and the keys that it has yet to pass.
_Open: TypeAlias = "frozenset[tuple[int, frozenset[str]]]"


def read_exclusions(found: Any, faults: list[Fault]) -> list[tuple[Path, Conditions]]:
    """Return the exclusions with their places; what is wrong with them goes to `faults`."""
    path = Path("exclude")
    if found is None:
        return []
    if not isinstance(found, list | tuple):
        hint = "write a list of partial combinations, such as [{model: vit, batch_size: [256, 512]}]"
        faults.append(Fault("exclude", f"{shown(found)} is not a list", hint))
        return []
    return [
        (path.element(index), read)
        for index, one in enumerate(found)
        if (read := _read(one, path.element(index), faults))
    ]


def _read(found: Any, path: Path, faults: list[Fault]) -> Conditions | None:
    if not isinstance(found, Mapping) or not found:
        faults.append(Fault(str(path), f"{shown(found)} is not a mapping of keys to values", "write one"))
        return None
    given = entries(found, path, faults) or {}
    wrong = [
        fault
        for key, value in given.items()
        for fault in [*key_faults(key, path), *value_faults(value, path / step(key))]
    ]
    faults += wrong
    return None if wrong else read_conditions({key: plain(value) for key, value in given.items()})


def excluded(
    tree: Tree, root: int | None, common: Mapping[str, Value], exclusions: Sequence[tuple[Path, Conditions]]
) -> tuple[Tree, int | None]:
    """Return the tree without the excluded combinations, and its root.

    Raises:
        SearchSpaceError: An exclusion matches nothing, all of them match everything, or the tree would need
            more than `MOST_NODES` nodes.
    """
    if not exclusions:
        return tree, root
    faults, left = [], []
    for path, conditions in exclusions:
        decided = {key: one for key, one in conditions.items() if key not in common}
        is_possible = all(
            one.admits(common[key]) for key, one in conditions.items() if key in common
        ) and Selection(tree, Having(decided)).select(root)
        if not is_possible:
            faults.append(Fault(str(path), "no combination matches", "correct it, or remove it"))
        elif not decided:
            faults.append(Fault(str(path), "every combination matches", "exclude less"))
        left.append(decided)
    if faults:
        raise SearchSpaceError(faults)
    try:
        found = Selection(tree, _Without(left, _keys_below(tree)), MOST_NODES).select(root)
    except TooManyNodesError:
        what = f"the tree would need more than {MOST_NODES:,} nodes"
        hint = "exclude less, or put the keys of an exclusion closer together in the tree"
        raise SearchSpaceError([Fault("exclude", what, hint)]) from None
    if found is None:
        raise SearchSpaceError([Fault("exclude", "every combination matches", "exclude less")])
    return found


@dataclass(frozen=True)
class Having:
    """Accepts the paths that pass all keys, and fulfil the condition of each; a state is the keys to pass."""

    conditions_of: Conditions

    @property
    def start(self) -> frozenset[str]:
        """All keys."""
        return frozenset(self.conditions_of)

    def conditions(self, state: frozenset[str], key: str) -> Sequence[Condition]:
        """Return the condition of a key, if it has one."""
        return [self.conditions_of[key]] if key in state else []

    def after(self, state: frozenset[str], key: str, fulfilled: Sequence[bool]) -> frozenset[str] | None:
        """Return the keys to pass after this one; None if its condition is not fulfilled."""
        return state - {key} if all(fulfilled) else None

    def reduced(self, state: frozenset[str], number: int | None) -> frozenset[str]:
        """Return the state: all of it matters."""
        return state

    def accepts(self, state: frozenset[str]) -> bool:
        """Return whether all keys were passed."""
        return not state


@dataclass(frozen=True)
class _Without:
    """Accepts the paths that no exclusion matches; `keys_below`: of each node, and of all below it."""

    exclusions: Sequence[Conditions]
    keys_below: Sequence[frozenset[str]]

    @property
    def start(self) -> _Open:
        return frozenset((number, frozenset(one)) for number, one in enumerate(self.exclusions))

    def conditions(self, state: _Open, key: str) -> Sequence[Condition]:
        return [self.exclusions[number][key] for number, keys in sorted(state, key=_number) if key in keys]

    def after(self, state: _Open, key: str, fulfilled: Sequence[bool]) -> _Open | None:
        answers = iter(fulfilled)
        after = []
        for number, keys in sorted(state, key=_number):
            if key not in keys:
                after.append((number, keys))
            elif next(answers):
                if keys == {key}:
                    return None
                after.append((number, keys - {key}))
        return frozenset(after)

    def reduced(self, state: _Open, number: int | None) -> _Open:
        keys = frozenset[str]() if number is None else self.keys_below[number]
        return frozenset(one for one in state if one[1] <= keys)

    def accepts(self, state: _Open) -> bool:
        return True


def _number(one: tuple[int, frozenset[str]]) -> int:
    return one[0]


def _keys_below(tree: Tree) -> list[frozenset[str]]:
    """Return the keys of each node and of all below it."""
    found: list[frozenset[str]] = []
    interned: dict[frozenset[str], frozenset[str]] = {}
    for node in tree.nodes:
        children = {child for _, child in node.branches() if child is not None}
        keys = frozenset({node.key}).union(*(found[child] for child in children))
        found.append(interned.setdefault(keys, keys))
    return found
