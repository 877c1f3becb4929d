"""One branch of a search space: the combinations that have certain values for certain keys."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TypeAlias

from dahps_core.errors import ConfigurationError
from dahps_core.model.combination import Value, canonical
from dahps_core.space.path import shown
from dahps_core.space.tree import Node, Tree
from dahps_core.space.words import nearest

#: Key -> the canonical texts of the values that a combination of the branch may have there.
Allowed: TypeAlias = "dict[str, frozenset[str]]"

#: A node, and the keys that a path must still pass from there on.
_Place: TypeAlias = "tuple[int | None, frozenset[str]]"

#: Number of choices named in an error.
_CHOICES_NAMED = 20


def allowed_by(only: Mapping[str, Value]) -> Allowed:
    """Read the allowed values of each key; a list allows any of its elements."""
    return {
        key: frozenset(map(canonical, values if isinstance(values, list) else [values]))
        for key, values in only.items()
    }


def refuse_unknown(allowed: Allowed, choices: Mapping[str, Mapping[str, Value]]) -> None:
    """Expect that the space has every key and every value.

    Args:
        allowed: What a branch is made of.
        choices: Key -> the values that it can take anywhere, by their canonical texts.

    Raises:
        ConfigurationError: With the possible choices.
    """
    for key, texts in allowed.items():
        if key not in choices:
            near = nearest(key, choices)
            hint = f"Did you mean {near}?" if near else f"Its keys are {named(choices)}"
            raise ConfigurationError(f"the space has no key {shown(key)}", where="only", hint=hint)
        unknown = [text for text in texts if text not in choices[key]]
        if unknown or not texts:
            what = f"the space has no {key}={', '.join(sorted(unknown))}" if unknown else f"no value of {key}"
            hint = f"Its values are {named(choices[key])}"
            raise ConfigurationError(what, where="only", hint=hint)


def named(choices: Collection[str]) -> str:
    """Name the first of some choices, for people."""
    some = ", ".join(map(shown_text, list(choices)[:_CHOICES_NAMED]))
    return some + (f" and {len(choices) - _CHOICES_NAMED} more" if len(choices) > _CHOICES_NAMED else "")


def shown_text(text: str) -> str:
    """Return a text on one short line, without added quotes."""
    return text if len(text) <= 70 and text.isprintable() else shown(text)


def prune(tree: Tree, root: int | None, allowed: Allowed) -> tuple[Tree, int | None]:
    """Return the tree of the paths that pass all the keys of `allowed` with an allowed value each; in their
    order.

    Each node is looked at once for each set of keys that paths must still pass from there, however many
    these are.

    Raises:
        ConfigurationError: There is no such path.
    """
    pruned = Tree()
    start: _Place = (root, frozenset(allowed))
    numbers: dict[_Place, int] = {}
    for place in _in_post_order(tree, start, allowed):
        kept = [
            (value, None if child[0] is None else numbers[child])
            for value, child in _branches(tree, place, allowed)
            if child in numbers or child == (None, frozenset())
        ]
        if kept:
            values, children = zip(*kept, strict=True)
            numbers[place] = pruned.add(_node(tree, place).key, values, children)
    if start not in numbers and start != (None, frozenset()):
        what = f"no combination of the space has {', '.join(allowed)} with these values together"
        raise ConfigurationError(what, where="only", hint="Leave one of them out")
    return pruned, numbers.get(start)


def _branches(tree: Tree, place: _Place, allowed: Allowed) -> Iterator[tuple[Value, _Place]]:
    """Return the values that a path may take at a node, and where they lead."""
    node = _node(tree, place)
    texts = allowed.get(node.key)
    for value, child in node.branches():
        if texts is None or canonical(value) in texts:
            yield value, (child, place[1] - {node.key})


def _node(tree: Tree, place: _Place) -> Node:
    assert place[0] is not None
    return tree.nodes[place[0]]


def _in_post_order(tree: Tree, start: _Place, allowed: Allowed) -> list[_Place]:
    """Return the places that paths pass, children before parents; by a loop: a tree may be of any depth."""
    order: list[_Place] = []
    seen: set[_Place] = set()
    waiting = [(start, False)]
    while waiting:
        place, is_done = waiting.pop()
        if is_done:
            order.append(place)
        elif place not in seen and place[0] is not None:
            seen.add(place)
            waiting.append((place, True))
            waiting += [(child, False) for _, child in reversed(list(_branches(tree, place, allowed)))]
    return order
