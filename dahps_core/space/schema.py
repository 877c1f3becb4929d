"""A JSON Schema of a search space's config, so that editors complete its words and underline mistakes.

It says what can be said without the rest of the tree: that a case names a value, or that no key repeats on a
path, only the reader checks.
"""

from __future__ import annotations

from typing import Any

from dahps_core.space.interval_words import MOST_POINTS

_SUBTREE = {"$ref": "#/$defs/subtree"}
_OF_INTERVALS = ("log", "step", "points")
_VALUE = {"type": ["string", "number", "boolean", "null", "array", "object"]}

_NODE: dict[str, Any] = {
    "type": "object",
    "required": ["key"],
    "properties": {
        "key": {"type": "string", "minLength": 1, "description": "What the node decides."},
        "values": {"type": "array", "minItems": 1, "items": _VALUE, "description": "What it can be."},
        "interval": {
            "type": "array",
            "items": {"type": "number"},
            "minItems": 2,
            "maxItems": 2,
            "description": "[low, high] instead of values; two integers mean integers.",
        },
        "log": {"type": "boolean", "description": "Draw evenly in the logarithm."},
        "step": {"type": "number", "exclusiveMinimum": 0, "description": "The distance of two values."},
        "points": {
            "type": "integer",
            "minimum": 2,
            "maximum": MOST_POINTS,
            "description": "How many values at equal distances.",
        },
        "weights": {
            "description": "How often `random` takes each value: a list, or value -> weight.",
            "anyOf": [
                {"type": "array", "items": {"type": "number", "minimum": 0}},
                {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
            ],
        },
        "default": _SUBTREE | {"description": "The subtree of all values without one of their own."},
        "cases": {"type": "object", "additionalProperties": _SUBTREE, "description": "Value -> subtree."},
        "then": _SUBTREE | {"description": "What follows, whatever was chosen."},
    },
    "additionalProperties": _SUBTREE,
    "oneOf": [
        {
            "required": ["values"],
            "not": {"anyOf": [{"required": [word]} for word in ("interval", *_OF_INTERVALS)]},
        },
        {
            "required": ["interval", "default"],
            "propertyNames": {"enum": ["key", "interval", *_OF_INTERVALS, "default", "then"]},
            "not": {"required": ["step", "points"]},
        },
    ],
}


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A search space of DAHPS",
        "type": "object",
        "required": ["root"],
        "properties": {
            "root": _SUBTREE,
            "common": {
                "type": ["object", "null"],
                "additionalProperties": _VALUE,
                "description": "Key -> the value that every combination has.",
            },
            "exclude": {
                "type": ["array", "null"],
                "items": {"type": "object", "minProperties": 1},
                "description": "Partial combinations that never run.",
            },
            "check_unique": {"type": "boolean", "description": "Whether a repeated value is a fault."},
            "repetitions": {"type": "integer", "minimum": 1, "description": "Of each combination."},
        },
        "additionalProperties": False,
        "$defs": {"node": _NODE, "subtree": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}},
    }
