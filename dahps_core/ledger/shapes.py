"""What stands in the columns of a ledger: SQLite itself takes anything anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

#: Column -> the types of its values, in the order of the table's columns.
Shape: TypeAlias = "dict[str, tuple[type, ...]]"

_NONE = type(None)
_INTEGER = (int,)
_INTEGER_OR_NOT = (int, _NONE)
_REAL = (float, int)
_TEXT = (str,)
_TEXT_OR_NOT = (str, _NONE)
_REAL_OR_NOT = (float, int, _NONE)

META: Shape = {
    "id": _INTEGER,
    "created_at": _REAL,
    "strategy": _TEXT,
    "direction": _TEXT,
    "metric": _TEXT_OR_NOT,
    "seed": _TEXT,
    "locking": _TEXT,
    "brackets": _TEXT_OR_NOT,
}
SPACE: Shape = {
    "id": _INTEGER,
    "digest": _TEXT,
    "definition": _TEXT,
    "added_at": _REAL,
    "cursor": _INTEGER,
    "is_branch": _INTEGER,
    "n_enqueued": _INTEGER,
}
RUN: Shape = {"id": _TEXT, "folder": _TEXT_OR_NOT, "has_finished": _INTEGER, "n_failed": _INTEGER}
WORKER: Shape = {
    "id": _TEXT,
    "run": _TEXT,
    "host": _TEXT,
    "pid": _INTEGER,
    "job": _TEXT_OR_NOT,
    "log": _TEXT_OR_NOT,
    "state": _TEXT,
    "started_at": _REAL,
    "ended_at": _REAL_OR_NOT,
}
TRIAL: Shape = {
    "number": _INTEGER,
    "space": _INTEGER,
    "position": _INTEGER_OR_NOT,
    "combination": _TEXT,
    "digest": _TEXT,
    "repetition": _INTEGER,
    "state": _TEXT,
    "attempts": _INTEGER,
    "charged": _INTEGER,
    "pardoned": _INTEGER,
    "level": _INTEGER,
    "token": _TEXT_OR_NOT,
    "worker": _TEXT_OR_NOT,
    "started_at": _REAL_OR_NOT,
    "ended_at": _REAL_OR_NOT,
    "output_dir": _TEXT_OR_NOT,
    "error": _TEXT_OR_NOT,
    "metric": _REAL_OR_NOT,
    "metric_is_nan": _INTEGER,
    "result": _TEXT_OR_NOT,
}
ATTEMPT: Shape = {
    "trial": _INTEGER,
    "attempt": _INTEGER,
    "token": _TEXT,
    "worker": _TEXT,
    "started_at": _REAL,
    "ended_at": _REAL,
    "outcome": _TEXT,
    "output_dir": _TEXT_OR_NOT,
    "error": _TEXT_OR_NOT,
    "level": _INTEGER,
    "metric": _REAL_OR_NOT,
    "metric_is_nan": _INTEGER,
    "result": _TEXT_OR_NOT,
}
REPORT: Shape = {
    "trial": _INTEGER,
    "attempt": _INTEGER,
    "step": _INTEGER,
    "metric": _REAL_OR_NOT,
    "metric_is_nan": _INTEGER,
}
#: What readers are told of a trial, and of its last attempt's worker.
LISTED_TRIAL: Shape = {
    "number": _INTEGER,
    "combination": _TEXT,
    "repetition": _INTEGER,
    "state": _TEXT,
    "attempts": _INTEGER,
    "level": _INTEGER,
    "metric": _REAL_OR_NOT,
    "metric_is_nan": _INTEGER,
    "result": _TEXT_OR_NOT,
    "started_at": _REAL_OR_NOT,
    "ended_at": _REAL_OR_NOT,
    "output_dir": _TEXT_OR_NOT,
    "error": _TEXT_OR_NOT,
    "host": _TEXT_OR_NOT,
    "pid": _INTEGER_OR_NOT,
    "job": _TEXT_OR_NOT,
}
#: What readers are told of an attempt, and of its worker.
LISTED_ATTEMPT: Shape = {
    "trial": _INTEGER,
    "attempt": _INTEGER,
    "level": _INTEGER,
    "outcome": _TEXT,
    "started_at": _REAL,
    "ended_at": _REAL_OR_NOT,
    "metric": _REAL_OR_NOT,
    "metric_is_nan": _INTEGER,
    "worker": _TEXT,
    "host": _TEXT,
    "pid": _INTEGER,
    "job": _TEXT_OR_NOT,
}


def misfits(row: Mapping[str, Any] | Any, shape: Shape) -> list[str]:
    """The columns of a row whose values nobody writes there."""
    return [column for column, types in shape.items() if not _fits(row[column], types)]


def _fits(value: object, types: tuple[type, ...]) -> bool:
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # bytes that are no UTF-8, as a reader that takes all gives them
            return False
    return isinstance(value, types)
