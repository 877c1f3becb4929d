"""The words of the config, and what people write in their place."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from dahps_core.errors import Fault
from dahps_core.space.path import Path, shown, step
from dahps_core.space.values import target_fault, text_faults


def nearest(name: object, words: Collection[str]) -> str | None:
    """Return the word nearest to a name; None if none is near."""
    # Most nodes have no words to choose from, and the matcher is slow to make.
    return next(iter(get_close_matches(step(name), words, n=1)), None) if words else None


def key_faults(key: object, path: Path) -> Iterator[Fault]:
    """Yield why a combination cannot have a key."""
    if type(key) is not str or not key:  # a derived one, an enum's say, has a text that JSON loses
        yield Fault(str(path), f"{shown(key)} is not a key", "a key is a string of at least one character")
    elif key == "_target_":
        yield target_fault(path)
    else:
        yield from text_faults(key, path)


def unwrapped(found: Any, path: Path, faults: list[Fault]) -> Any:
    """Return the mapping in a list that holds only it; a fault, but what is inside can still be read."""
    if not (isinstance(found, (list, tuple)) and len(found) == 1 and isinstance(found[0], Mapping)):
        return found
    if isinstance(found, tuple):
        hint = "a trailing comma after it in the Python file?"
    else:
        hint = "write the mapping itself"
    faults.append(Fault(str(path), f"a {type(found).__name__} that holds one mapping", hint))
    return found[0]
