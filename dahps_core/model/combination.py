"""One path through the search space, from root to leaf."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from dahps_core.text.json_text import UnreadableJSON, parse_json

#: What a level may take: JSON's values, and no others (a value must survive the ledger unchanged).
Value: TypeAlias = "str | int | float | bool | list[Any] | dict[str, Any] | None"


# `json.dumps` with options makes an encoder for each call, which takes three times as long as to use it.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class Combination(Mapping[str, Value]):
    """Key -> value, in path order; immutable.

    Attributes:
        occurrence: 0, unless the space repeats values (`check_unique: false`): which of the equal
            combinations of the space this is. It takes no part in equality.
    """

    __slots__ = ("_items", "occurrence")

    def __init__(self, items: Iterable[tuple[str, Value]], occurrence: int = 0) -> None:
        self._items: dict[str, Value] = dict(items)
        self.occurrence = occurrence

    def __getitem__(self, key: str) -> Value:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        # By identity, not by value: to Python 1 == 1.0 == True, to a training script they are three things.
        if isinstance(other, Combination):
            return self.canonical() == other.canonical()
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.canonical())

    def __repr__(self) -> str:
        return f"Combination({self._items!r})"

    def canonical(self) -> str:
        """Return the canonical text of a combination: JSON with sorted keys."""
        return canonical(self._items)

    def digest(self) -> str:
        """Return the SHA-256 of the canonical text, in hexadecimal, on which the ledger's
        uniqueness rests.
        """
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    def to_json(self) -> str:
        """Return JSON in the path's order."""
        return json.dumps(self._items)

    @classmethod
    def from_json(cls, text: str) -> Combination:
        """Return the combination that `to_json` wrote; raise UnreadableJSON if it wrote none."""
        items = parse_json(text)
        if not isinstance(items, dict):
            raise UnreadableJSON("a combination is a mapping")
        return cls(items.items())


def canonical(value: Value) -> str:
    """Return the canonical text of a value: equal texts are equal values, and 1, 1.0 and true are three."""
    return _encode(value)
