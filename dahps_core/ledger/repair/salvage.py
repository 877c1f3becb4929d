"""Reading a damaged ledger: what is still there, row by row, and nothing that cannot be verified."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from dahps_core.errors import LedgerDamagedError
from dahps_core.ledger.claiming.bound_space import BoundSpace
from dahps_core.ledger.joining import bound, search_of
from dahps_core.ledger.repair.repair_rows import (
    WITHOUT_ATTEMPT,
    Row,
    repaired,
    repaired_attempt,
    repaired_trial,
)
from dahps_core.ledger.sqlite import row_types
from dahps_core.ledger.sqlite.statements import statements
from dahps_core.strategies.search import Search

_CARE = statements("care.sql")


@dataclass
class Salvage:
    """What could be read of a damaged ledger.

    Attributes:
        created_at: When the ledger was created, as it was recorded.
        searches: The search of each space, oldest first.
        spaces: The rows of the spaces, and what their order is.
        trials: Those that could be read and verified, by number.
        n_trials: How many there have been.
    """

    created_at: float
    searches: list[Search]
    spaces: list[tuple[Row, BoundSpace]]
    runs: list[Row]
    workers: list[Row]
    trials: dict[int, Row]
    attempts: list[Row]
    reports: list[Row]
    n_trials: int


def salvage(path: Path, original: Path) -> Salvage:
    """Read what can be read of a ledger's file.

    Args:
        path: A copy of it, which may be written to.
        original: What to name in an error.

    Raises:
        LedgerDamagedError: What is searched cannot be read, so that nothing else means anything.
    """
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        connection.text_factory = row_types.any_text
        created_at, searches, spaces, new_ids = _searches(connection, original)
        most = path.stat().st_size // _SMALLEST
        orders = {row["id"]: order for row, order in spaces}
        metric = searches[0].metric
        known: dict[tuple[str, int], Row] = {}
        for row in _trials(connection, most):
            found = repaired_trial({**row, "space": new_ids.get(row["space"], _UNKNOWN)}, orders, metric)
            if found and found["number"] < most:
                known.setdefault((found["digest"], found["repetition"]), found)
        for space, order in spaces:
            positions = [row["position"] for row in known.values() if row["space"] == space["id"]]
            last = max((position for position in positions if position is not None), default=-1)
            space["cursor"] = max(last + 1, min(space["cursor"], most, order.space.n_trials))
        drawn = {*known, *(key for _, key in undrawn_from(spaces, set(known)))}
        most = min(len(drawn) + sum(row["n_enqueued"] for row, _ in spaces), most)
        trials = {row["number"]: row for row in known.values() if row["number"] < most}
        attempts = [
            attempt
            for row in _both_ways(connection, "salvage_attempts")
            if (attempt := repaired_attempt(row, metric))
            and spaces[0][1].has_level(attempt["trial"], attempt["level"])
        ]
        _count_attempts(trials, attempts)
        return Salvage(
            created_at,
            searches,
            spaces,
            _repaired(connection, "run"),
            _repaired(connection, "worker"),
            trials,
            attempts,
            [
                row
                for row in _repaired(connection, "report")
                if row["trial"] in trials and _is_report(row, trials[row["trial"]]["attempts"])
            ],
            max(len(drawn), max(trials, default=-1) + 1),
        )


def _count_attempts(trials: dict[int, Row], attempts: list[Row]) -> None:
    """Fill in how many attempts a trial had if that cannot be read; give each a token of its own."""
    last = {row["trial"]: row["attempt"] for row in sorted(attempts, key=lambda row: row["attempt"])}
    seen: set[str] = set()
    for row in trials.values():
        has_attempt = row["state"] not in WITHOUT_ATTEMPT
        if row["attempts"] is None:
            row["attempts"] = last.get(row["number"], 0) + has_attempt
        row["attempts"] = max(row["attempts"], has_attempt)
    for row in [*trials.values(), *attempts]:
        if row["token"] in seen:
            row["token"] = secrets.token_hex(16)
        if row["token"] is not None:
            seen.add(row["token"])


def undrawn_from(
    spaces: list[tuple[Row, BoundSpace]], known: set[tuple[str, int]], *, and_beyond: bool = False
) -> Iterator[tuple[Row, tuple[str, int]]]:
    """Yield the rows of trials that the cursors have passed and that are not known.

    With `and_beyond` also, after that, what the cursors have not passed, like enqueued trials.
    """
    seen = set(known)
    for is_beyond in (False, True) if and_beyond else (False,):
        for space, order in spaces:
            cursor = min(space["cursor"], order.space.n_trials)
            positions = range(cursor, order.space.n_trials) if is_beyond else range(cursor)
            for position in positions:
                combination, repetition = order.trial_at(position)
                key = (combination.digest(), repetition)
                if key in seen:
                    continue
                seen.add(key)
                yield (
                    {
                        "space": space["id"],
                        "position": None if is_beyond else position,
                        "combination": combination.to_json(),
                        "digest": key[0],
                        "repetition": repetition,
                    },
                    key,
                )


def _searches(
    connection: sqlite3.Connection, path: Path
) -> tuple[float, list[Search], list[tuple[Row, BoundSpace]], dict[object, int]]:
    """Return when the ledger was created, each space's search and row with a new id, and old id -> new id."""
    try:
        meta = [repaired(dict(row), "meta") for row in connection.execute(_CARE["salvage_meta"])]
        spaces = [repaired(dict(row), "space") for row in connection.execute(_CARE["salvage_spaces"])]
        if len(meta) != 1 or meta[0] is None or not spaces or None in spaces:
            raise ValueError("a cell of meta or space is damaged")
        known = [space for space in spaces if space is not None]
        searches = [search_of(meta[0], space) for space in known]
    except (sqlite3.Error, ValueError, LedgerDamagedError) as error:
        why = error.what if isinstance(error, LedgerDamagedError) else error
        raise LedgerDamagedError(
            f"nothing can be rebuilt: the search cannot be read ({why})",
            where=str(path),
            hint="Put a copy of ledger.db back, or start a new search in another folder",
        ) from error
    new_ids: dict[object, int] = {space["id"]: new for new, space in enumerate(known, start=1)}
    for space in known:
        if space["is_branch"] is None:  # a branch is one of another existing space
            space["is_branch"] = int(any(other["is_branch"] == 0 for other in known))
        space["id"] = new_ids[space["id"]]
    orders = [bound(search, space["id"]) for search, space in zip(searches, known, strict=True)]
    return meta[0]["created_at"], searches, list(zip(known, orders, strict=True)), new_ids


def _trials(connection: sqlite3.Connection, n_trials: int) -> Iterator[Row]:
    """Yield one trial after the other; skip what cannot be read."""
    number = 0
    while number < n_trials:
        try:
            for row in connection.execute(_CARE["salvage_trials"], {"first": number}):
                if not isinstance(row["number"], int) or row["number"] < number:
                    break
                yield dict(row)
                number = row["number"] + 1
            else:
                return
        except (sqlite3.Error, UnicodeError):
            pass
        number += 1


def _repaired(connection: sqlite3.Connection, table: str) -> list[Row]:
    rows = (repaired(row, table) for row in _both_ways(connection, f"salvage_{table}s"))
    return [row for row in rows if row is not None]


def _both_ways(connection: sqlite3.Connection, query: str) -> list[Row]:
    """Return the rows of a small table before the first unreadable one, and those after the last."""
    found: dict[str, Row] = {}
    for name in (query, f"{query}_from_the_end"):
        for row in _until_damage(connection, name):
            found[repr(row)] = row
    return list(found.values())


def _until_damage(connection: sqlite3.Connection, query: str) -> Iterator[Row]:
    with suppress(sqlite3.Error, UnicodeError):
        yield from map(dict, connection.execute(_CARE[query]))


def _is_report(row: Row, attempts: int) -> bool:
    """Return whether a report is one of an attempt that was made; what has no metric was NaN."""
    is_nan = row["metric"] is None
    is_reported = not is_nan or row["metric_is_nan"] in (1, None)
    row["metric_is_nan"] = int(is_nan)
    return is_reported and bool(1 <= row["attempt"] <= attempts)


#: The id of no space.
_UNKNOWN = -1

#: A trial takes more bytes of a file than this: its digest alone does.
_SMALLEST = 64
