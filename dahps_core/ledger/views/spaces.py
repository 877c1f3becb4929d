"""The spaces of a ledger, as its rows describe them."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from sqlite3 import Row
from typing import Any

from dahps_core.ledger.sqlite.database import Transaction
from dahps_core.model.combination import canonical
from dahps_core.space import SearchSpace
from dahps_core.text.json_text import UnreadableJSON, parse_json


def spaces(transaction: Transaction) -> list[SearchSpace]:
    """Return all spaces ever searched, oldest first."""
    return [space_of(row) for row in transaction.rows("spaces")]


def space_of(row: Row | Mapping[str, Any]) -> SearchSpace:
    """Return the space that a row of a ledger describes.

    Raises:
        UnreadableJSON: It has invalid contents.
    """
    definition = parse_json(row["definition"])
    # Before anything is made of it: what has this digest was written by us.
    if sha256(canonical(definition).encode()).hexdigest() != row["digest"]:
        raise UnreadableJSON("the space does not match its digest")
    return SearchSpace.from_definition(definition)
