"""Parsing JSON that anybody may have written: what Python's recursive functions cannot take is refused."""

from __future__ import annotations

import json
from typing import Any

#: What Python's recursive functions take without complaint, with room to spare.
MAX_DEPTH = 100


class UnreadableJSON(ValueError):  # noqa: N818 - what it is of, not that it is an error
    """A text that is no JSON, or is nested too deeply to work with."""


def parse_json(text: str) -> Any:
    """Return the value of a text of JSON.

    Raises:
        UnreadableJSON: There is none.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise UnreadableJSON("nested too deeply") from None
    except ValueError as error:
        raise UnreadableJSON(str(error)) from error
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise UnreadableJSON("nested too deeply")
    return value


def _depth(value: Any) -> int:
    """Return how deeply a value is nested; by a loop, since it may be of any depth."""
    depth, level = 0, [value]
    while level := [part for whole in level for part in _parts(whole)]:
        depth += 1
    return depth


def _parts(value: Any) -> list[Any]:
    return [*value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
