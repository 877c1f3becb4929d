"""What can be a value of a search space: JSON's values, and no others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, TypeGuard

from dahps_core.errors import Fault
from dahps_core.model.combination import Value, canonical
from dahps_core.space.entries import entries
from dahps_core.space.path import Path, shown, step

#: What Python's, Hydra's and JSON's recursive readers take without complaint, with room to spare.
MAX_DEPTH = 50

#: Of lists and mappings, elements that are shared counted each time: so that reading a value comes to an end.
MAX_PARTS = 100_000

#: 4,000 digits: Python refuses to write or read an integer of more than 4,300.
MAX_INTEGER_BITS = 13_288

_KINDS = "a value is a string, number, boolean, null, list or mapping"


def value_faults(value: object, path: Path) -> list[Fault]:
    """Yield why a value cannot be in a search space; nothing if it can."""
    parts = count(1)
    try:
        return list(_faults(value, path, 0, parts))
    except RecursionError:
        return [Fault(str(path), f"nested deeper than {MAX_DEPTH} levels, or within itself")]
    except _TooManyPartsError:
        return [
            Fault(str(path), f"a value of more than {MAX_PARTS:,} parts", "write it to a file, and name that")
        ]


def plain(value: Any) -> Value:
    """Return a value without faults, its tuples as lists and its mappings as dicts."""
    if isinstance(value, (list, tuple)):
        return [plain(element) for element in value]
    if isinstance(value, Mapping):
        return {key: plain(element) for key, element in value.items()}
    return value  # type: ignore[no-any-return]


def named_value(name: object, texts: Mapping[str, Any]) -> str | None:
    """Return the value that a case names.

    Args:
        name: The value itself; or the JSON text of one that a mapping cannot have as a key.
        texts: The canonical texts of the node's values.

    Returns:
        The canonical text of the value; None if there is no such value.
    """
    try:
        if is_scalar(name) and (text := canonical(name)) in texts:
            return text
        value = json.loads(name) if isinstance(name, str) else ""
    except (ValueError, RecursionError):  # no JSON; or an integer of more digits than Python writes
        return None
    may_be_text = value is None or isinstance(value, (list, dict))
    return text if may_be_text and (text := canonical(value)) in texts else None


def is_scalar(value: object) -> TypeGuard[str | int | float | None]:
    """Return whether a value is a plain scalar; exactly of its type, since JSON would lose a derived one."""
    return value is None or type(value) in (str, int, float, bool)


class _TooManyPartsError(Exception):
    pass


def _faults(value: object, path: Path, depth: int, parts: Iterator[int]) -> Iterator[Fault]:
    if depth > MAX_DEPTH:
        raise RecursionError
    if next(parts) > MAX_PARTS:
        raise _TooManyPartsError
    if isinstance(value, (list, tuple)):
        for index, element in enumerate(value):
            yield from _faults(element, path.element(index), depth + 1, parts)
    elif isinstance(value, Mapping):
        unreadable: list[Fault] = []
        for key, element in (entries(value, path, unreadable) or {}).items():
            yield from _key_faults(key, path)
            yield from _faults(element, path / step(key), depth + 1, parts)
        yield from unreadable
    elif not is_scalar(value):
        hint = "its .tolist() is plain" if hasattr(type(value), "tolist") else _KINDS
        yield Fault(str(path), f"{shown(value)} is of the type {type(value).__name__}", hint)
    elif isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        yield Fault(str(path), "an integer of more than 4,000 digits", "write it as a string")
    elif isinstance(value, str):
        yield from text_faults(value, path)


def _key_faults(key: object, path: Path) -> Iterator[Fault]:
    if type(key) is not str:
        yield Fault(str(path), f"the key {shown(key)} is not a string", "quote it")
    elif key == "_target_":
        yield target_fault(path)
    else:
        yield from text_faults(key, path)


def text_faults(text: str, path: Path) -> Iterator[Fault]:
    """Yield why a string cannot be stored."""
    try:
        text.encode()
    except UnicodeEncodeError:
        yield Fault(str(path), f"{shown(text)} contains half of a surrogate pair, which no file can store")


def target_fault(path: Path) -> Fault:
    """Refuse `_target_`, which Hydra 1.3 would execute: a search space is data."""
    return Fault(
        str(path / "_target_"),
        "Hydra would execute this when it reads the search space",
        "let the app's config hold the _target_ and search over its arguments",
    )
