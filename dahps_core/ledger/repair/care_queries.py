"""What `dahps check` and `dahps recover` read of a ledger, sound or not."""

from __future__ import annotations

from typing import Any

from dahps_core.ledger.sqlite.database import Transaction
from dahps_core.ledger.sqlite.statements import statements

_CARE = statements("care.sql")


def rows(transaction: Transaction, query: str, **parameters: int | str) -> list[Any]:
    """Return the rows of a statement of `care.sql`, whatever they hold."""
    return transaction.execute(_CARE[query], dict(parameters)).fetchall()
