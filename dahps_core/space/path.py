"""Places in a search space, `root(model).vit(lr).default.values`, and how they are shown."""

from __future__ import annotations

import json
import re
import reprlib

from dahps_core.model.combination import Value, canonical

#: How many steps of a long path are shown at its beginning and at its end.
_SHOWN_FIRST = 4
_SHOWN_LAST = 6

#: What needs no quotes in a path: words, elements of lists, and numbers.
_PLAIN_STEP = re.compile(r"[\w+~@/-]+(\[\d+\])?|-?\d+\.\d+(e-?\d+)?")

#: Keys of nodes that need no quotes in a path.
_PLAIN_KEY = re.compile(r"[\w+~@/.-]+")


class Path:
    """Steps from the envelope to a place in it.

    Each node that a path passes bears its key in parentheses: `default` alone could be any of them.
    A path refers only to its parent, so that the paths of a tree with many levels cost no more than it does.
    """

    __slots__ = ("_depth", "_head", "_name", "_parent", "_step")

    def __init__(self, step: str, parent: Path | None = None, key: str = "") -> None:
        self._name = step
        self._step = _quoted(step) + (f"({_quoted(key, _PLAIN_KEY)})" if key else "")
        self._parent = parent
        self._depth: int = parent._depth + 1 if parent else 1
        self._head: str = parent._head if parent else self._step
        if parent and self._depth <= _SHOWN_FIRST:
            self._head = f"{parent._head}.{self._step}"

    def __truediv__(self, step: str) -> Path:
        """Return the path one step further."""
        return Path(step, self)

    def passed(self, key: str) -> Path:
        """Return this place as a part of the paths that lead through its node, which has this key."""
        return Path(self._name, self._parent, key)

    def below(self, parent: Path) -> Path:
        """Return the place that the last step leads to from another place."""
        return Path(self._name, parent)

    def element(self, index: int) -> Path:
        """Return the path of an element of this list."""
        return Path(f"{self._step}[{index}]", self._parent)

    def __str__(self) -> str:
        """Join the steps by dots; a number replaces the middle of a long path."""
        hidden = self._depth - _SHOWN_FIRST - _SHOWN_LAST
        last: list[str] = []
        place: Path | None = self
        while place and place._depth > _SHOWN_FIRST and len(last) < _SHOWN_LAST:
            last.append(place._step)
            place = place._parent
        middle = [f"({hidden} more)"] if hidden > 0 else []
        return ".".join([self._head, *middle, *reversed(last)])


def value_step(value: Value) -> str:
    """Return the step into the subtree of a value: its name as a case."""
    return value if isinstance(value, str) else canonical(value)


def step(name: object) -> str:
    """Return the step to what has a name, whatever the name is."""
    return name if isinstance(name, str) else shown(name)


def shown(found: object) -> str:
    """Return anything on one short line."""
    if found is None or type(found) in (str, bool, float):
        text = json.dumps(found, ensure_ascii=False)
        text = text if text.isprintable() else json.dumps(found)
    elif type(found) is int and found.bit_length() > 64:
        text = f"about {'-' if found < 0 else ''}10^{found.bit_length() * 0.30103:.0f}"
    else:
        try:
            text = reprlib.repr(found)  # what is deep, or holds itself, ends in dots
        except Exception:  # an integer of more than 4,300 digits; or whatever the user's own class raises
            text = f"a {type(found).__name__}"
        text = text if text.isprintable() else json.dumps(text)
    return _shortened(text)


def _quoted(step: str, plain: re.Pattern[str] = _PLAIN_STEP) -> str:
    return _shortened(step) if plain.fullmatch(step) else shown(step)


def _shortened(text: str) -> str:
    return text if len(text) <= 70 else f"{text[:50]} … {text[-15:]}"
