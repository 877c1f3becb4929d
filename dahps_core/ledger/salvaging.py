"""Reading a damaged ledger: what is still there, row by row, and nothing that cannot be verified."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from dahps_core.errors import LedgerDamagedError
from dahps_core.ledger import shapes
from dahps_core.ledger.bound_space import BoundSpace
from dahps_core.ledger.checking import faults_of_combination, faults_of_result
from dahps_core.ledger.opening import bound, search_of
from dahps_core.ledger.search import Search
from dahps_core.ledger.statements import statements

Row: TypeAlias = "dict[str, Any]"

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


def salvage(path: Path) -> Salvage:
    """Read what can be read of a ledger's file, a copy that may be written to.

    Raises:
        LedgerDamagedError: What is searched cannot be read, so that nothing else means anything.
    """
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        # A text that is no text is a damaged one, and is found by its shape.
        connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        created_at, searches, spaces = _searches(connection, path)
        by_id = {row["id"]: (row, order) for row, order in spaces}
        drawn = {key for _, key in undrawn_from(spaces, set())}
        most = min(len(drawn) + sum(row["n_enqueued"] for row, _ in spaces), path.stat().st_size // _SMALLEST)
        trials = {
            row["number"]: row
            for row in _trials(connection, most)
            if not shapes.misfits(row, shapes.TRIAL) and row["number"] < most and _is_right(row, by_id)
        }
        drawn.update((row["digest"], row["repetition"]) for row in trials.values())
        return Salvage(
            created_at,
            searches,
            spaces,
            _both_ways(connection, "salvage_runs", shapes.RUN),
            _both_ways(connection, "salvage_workers", shapes.WORKER),
            trials,
            [
                row
                for row in _both_ways(connection, "salvage_attempts", shapes.ATTEMPT)
                if _is_attempt(row, spaces[0][1])
            ],
            [
                row
                for row in _both_ways(connection, "salvage_reports", shapes.REPORT)
                if row["trial"] in trials and _is_report(row, trials[row["trial"]]["attempts"])
            ],
            max(len(drawn), max(trials, default=-1) + 1),
        )


def undrawn_from(
    spaces: list[tuple[Row, BoundSpace]], known: set[tuple[str, int]], *, and_beyond: bool = False
) -> Iterator[tuple[Row, tuple[str, int]]]:
    """What the spaces' cursors have passed and is not among the known: a trial's row, with what is unique.

    With `and_beyond` also, after that, what the cursors have not passed, as if a person had asked for it.
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
) -> tuple[float, list[Search], list[tuple[Row, BoundSpace]]]:
    try:
        meta = [dict(row) for row in connection.execute(_CARE["salvage_meta"])]
        spaces = [dict(row) for row in connection.execute(_CARE["salvage_spaces"])]
        if len(meta) != 1 or not spaces or shapes.misfits(meta[0], shapes.META):
            raise ValueError("it is not there")
        if any(shapes.misfits(space, shapes.SPACE) for space in spaces):
            raise ValueError("a space holds what nobody writes there")
        searches = [search_of(meta[0], space) for space in spaces]
    except (sqlite3.Error, ValueError, LedgerDamagedError) as error:
        raise LedgerDamagedError(
            f"nothing can be rebuilt: what is searched cannot be read ({error})",
            where=str(path),
            mend="Put a copy of ledger.db back, or start anew in another folder",
        ) from error
    bounds = [bound(search, space["id"]) for search, space in zip(searches, spaces, strict=True)]
    return meta[0]["created_at"], searches, list(zip(spaces, bounds, strict=True))


def _trials(connection: sqlite3.Connection, n_trials: int) -> Iterator[Row]:
    """One after the other; whatever cannot be read is stepped over."""
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


def _both_ways(connection: sqlite3.Connection, query: str, shape: shapes.Shape) -> list[Row]:
    """The rows of a small table before the first that cannot be read, and those after the last."""
    found: dict[str, Row] = {}
    for name in (query, f"{query}_from_the_end"):
        for row in _until_damage(connection, name):
            if not shapes.misfits(row, shape):
                found[repr(row)] = row
    return list(found.values())


def _until_damage(connection: sqlite3.Connection, query: str) -> Iterator[Row]:
    with suppress(sqlite3.Error, UnicodeError):
        yield from map(dict, connection.execute(_CARE[query]))


def _is_right(row: Row, spaces: dict[int, tuple[Row, BoundSpace]]) -> bool:
    if row["space"] not in spaces or not _is_allowed(row):
        return False
    space, order = spaces[row["space"]]
    faults = [*faults_of_combination({**row, "cursor": space["cursor"]}, order)]
    if row["state"] == "finished":
        faults += faults_of_result(row)
    return not faults and order.has_level(row["number"], row["level"])


def _is_allowed(row: Row) -> bool:
    """Whether the schema would take the row of a trial: a damaged page knows of no CHECK."""
    is_finished = row["state"] == "finished"
    has_attempt = row["state"] not in WITHOUT_ATTEMPT
    return (
        row["state"] in ("running", "finished", *WITHOUT_ATTEMPT, *_OUTCOMES)
        and has_attempt <= row["attempts"] < 2**31
        and all((row[column] is not None) == has_attempt for column in ("token", "worker", "started_at"))
        and (row["state"] == "running" or not has_attempt) == (row["ended_at"] is None)
        and row["pardoned"] >= 0
        and is_finished == (row["result"] is not None)
        and (is_finished or row["metric"] is None)
        and row["metric_is_nan"] in ((0, 1) if is_finished and row["metric"] is None else (0,))
    )


def _is_attempt(row: Row, order: BoundSpace) -> bool:
    """Whether the schema would take the row of an attempt that is over, and its result is one."""
    is_finished = row["outcome"] == "finished"
    return (
        row["outcome"] in (*_OUTCOMES, "finished")
        and is_finished == (row["result"] is not None)
        and (is_finished or row["metric"] is None)
        and row["metric_is_nan"] in ((0, 1) if is_finished and row["metric"] is None else (0,))
        and order.has_level(row["trial"], row["level"])
        and not (is_finished and any(faults_of_result(row)))
    )


def _is_report(row: Row, attempts: int) -> bool:
    """Whether the schema would take the row of a report."""
    is_nan = row["metric"] is None
    return 1 <= row["attempt"] <= attempts and row["step"] >= 0 and bool(row["metric_is_nan"] == is_nan)


#: Of an attempt that another one at the same level followed.
_OUTCOMES = ("failed", "released", "died", "lost", "cancelled")

#: States of trials all of whose attempts were followed by a person's word.
WITHOUT_ATTEMPT = ("queued", "cancelled")

#: A trial takes more bytes of a file than this: its digest alone does.
_SMALLEST = 64
