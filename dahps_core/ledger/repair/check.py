"""`dahps check`: every invariant of a ledger, and each violation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from dahps_core.errors import LedgerDamagedError, LedgerVersionError
from dahps_core.ledger.claiming.bound_space import BoundSpace
from dahps_core.ledger.claiming.rungs import Rungs, ends_at_levels
from dahps_core.ledger.folder.ledger_folder import FILE_NAME, locking_of
from dahps_core.ledger.joining import bound, search_of
from dahps_core.ledger.ledger import PATIENCE_S
from dahps_core.ledger.repair.care_queries import rows
from dahps_core.ledger.repair.check_cells import cells_of_small_tables, cells_of_trial
from dahps_core.ledger.repair.check_files import faults_of_files
from dahps_core.ledger.repair.trial_faults import attempts_at_levels, faults_of_combination, faults_of_result
from dahps_core.ledger.sqlite.database import Database, Transaction
from dahps_core.ledger.sqlite.schema import SCHEMA_VERSION, foreign_of_schema, is_empty, version
from dahps_core.ledger.sqlite.storage_errors import not_a_ledger
from dahps_core.model.combination import Combination

_PAGE = 1000


def violations(folder: Path, patience_s: float = PATIENCE_S) -> Iterator[str]:
    """Yield a line for each violated invariant. The ledger is only read, and may be in use.

    Raises:
        LedgerError: It cannot be read at all.
    """
    with closing(_database(folder, patience_s)) as database:
        is_sound = True
        for violation in _of_database(database):
            is_sound = False
            yield violation
        if is_sound:
            yield from _reporting(faults_of_files(folder, database))


def is_damaged(folder: Path, patience_s: float = PATIENCE_S) -> bool:
    """Return whether the database of a ledger violates any invariant; raises as `violations` does."""
    with closing(_database(folder, patience_s)) as database:
        return any(_of_database(database))


def _database(folder: Path, patience_s: float) -> Database:
    locking = locking_of(folder) or "fcntl"
    return Database(folder / FILE_NAME, patience_s=patience_s, locking=locking, takes_any_text=True)


def _reporting(violations: Iterator[str]) -> Iterator[str]:
    """Damage that ends the search for violations is one of them."""
    try:
        yield from violations
    except LedgerDamagedError as error:
        yield str(error)


def _of_database(database: Database) -> Iterator[str]:
    return _reporting(_of_tables(database))


def _of_tables(database: Database) -> Iterator[str]:
    spaces: dict[int, BoundSpace] = {}
    damage = database.read(partial(_damage, path=database.folder / FILE_NAME))
    yield from damage
    cells = database.read(cells_of_small_tables)
    yield from cells
    if not damage and not cells:
        yield from database.read(partial(_of_the_whole, locking=database.locking))
        spaces = database.read(_bound_spaces)
        for rungs in [space.rungs for space in spaces.values() if space.rungs][:1]:
            yield from database.read(partial(_of_rungs, rungs=rungs))
        yield from _of_gaps(database, spaces)
    yield from _of_trials(database, spaces)


def _damage(transaction: Transaction, path: Path) -> list[str]:
    if is_empty(transaction, path):
        raise not_a_ledger(path, "there is no ledger here")
    if version(transaction) < SCHEMA_VERSION:
        raise LedgerVersionError(
            f"the ledger has schema {version(transaction)}, an older one",
            where=str(path),
            hint="Open it with any other command, which upgrades it",
        )
    found = [row[0] for row in rows(transaction, "integrity") if row[0] != "ok"]
    damage = [f"{path}: SQLite: {line}" for text in found for line in text.splitlines()]
    return damage + [f"{path}: {name} is not of the schema" for name in foreign_of_schema(transaction)]


def _of_the_whole(transaction: Transaction, locking: str) -> list[str]:
    found = [
        f"table {row[0]}, row {row[1]}: refers to a missing row of {row[2]}"
        for row in rows(transaction, "references")
    ]
    meta = transaction.row("meta")
    if meta is None:
        return [*found, "meta: the search is missing"]
    if meta["locking"] != locking:
        found.append(f"meta: locking is {meta['locking']}, and the file is one of {locking}")
    found += [
        f"token {row['token']}: fences several attempts" for row in rows(transaction, "repeated_tokens")
    ]
    found += [
        f"run {row['id']}: its summary differs from its attempts" for row in rows(transaction, "wrong_runs")
    ]
    found += [
        f"trial {row['trial']}: has the history of attempt {row['attempt']}, which does not exist"
        for row in rows(transaction, "unmade_attempts")
    ]
    found += [f"worker {row['worker']}: runs several trials" for row in rows(transaction, "held_twice")]
    found += [
        f"trial {row['number']}: is running, and its worker {row['worker']} is {row['state']}"
        for row in rows(transaction, "held_by_idle")
    ]
    return found + _of_cursors(rows(transaction, "spaces"))


def _of_cursors(spaces: list[Any]) -> list[str]:
    found = []
    for space in spaces:
        name, cursor, n_drawn = f"space {space['id']}", space["cursor"], space["n_drawn"]
        # It has passed over no combination that has no trial.
        if not n_drawn <= cursor <= space["n_trials"]:
            found.append(f"{name}: its cursor is {cursor}, and {n_drawn} trials were drawn")
        if space["n_asked_for"] != space["n_enqueued"]:
            found.append(
                f"{name}: {space['n_asked_for']} of {space['n_enqueued']} trials without a position exist"
            )
    return found


def _of_gaps(database: Database, spaces: dict[int, BoundSpace]) -> Iterator[str]:
    """Yield the positions that were drawn and have no trial, of this space or of another one."""
    for drawn_from in spaces.values():
        gaps = iter(database.read(partial(_gaps, drawn_from=drawn_from)))
        while page := list(islice(gaps, _PAGE)):
            drawn = [(position, *drawn_from.trial_at(position)) for position in page]
            for position in database.read(partial(_without_trial, drawn=drawn)):
                yield f"space {drawn_from.id}: position {position} was drawn, but its trial is missing"


def _gaps(transaction: Transaction, drawn_from: BoundSpace) -> list[int]:
    cursor, n_trials = (
        int(transaction.value(query, space=drawn_from.id) or 0) for query in ("cursor", "n_drawn")
    )
    taken = bytearray(min(cursor, n_trials, drawn_from.space.n_trials))
    for (position,) in rows(transaction, "positions", space=drawn_from.id):
        if isinstance(position, int) and 0 <= position < len(taken):
            taken[position] = True
    return [position for position, is_taken in enumerate(taken) if not is_taken]


def _without_trial(transaction: Transaction, drawn: list[tuple[int, Combination, int]]) -> list[int]:
    return [
        position
        for position, combination, repetition in drawn
        if not rows(transaction, "trial_of", digest=combination.digest(), repetition=repetition)
    ]


def _of_rungs(transaction: Transaction, rungs: Rungs) -> list[str]:
    found = []
    for row in rows(transaction, "rungs"):
        if row["level"] > rungs.brackets.top:
            found.append(f"{_named(row)}: no such rung")
            continue
        kept = (row["n_ended"], row["n_top"], row["n_promoted"])
        n_top = min(rungs.brackets.n_top(row["n"], row["level"]), row["n_scores"])
        if kept != (row["n"], n_top, row["n_gone"]) or n_top != row["n_in_top"]:
            found.append(f"{_named(row)}: its counts differ from the trials")
    found += [
        f"{_named(row)}: a trial outside its top is better than one in it"
        for row in rows(transaction, "misplaced")
    ]
    return found


def _named(rung: Any) -> str:
    return f"bracket {rung['bracket']}, level {rung['level']}"


def _bound_spaces(transaction: Transaction) -> dict[int, BoundSpace]:
    meta = transaction.row("meta")
    spaces = rows(transaction, "spaces") if meta else []
    return {space["id"]: bound(search_of(meta, space), space["id"]) for space in spaces if meta}


def _of_trials(database: Database, spaces: dict[int, BoundSpace]) -> Iterator[str]:
    """Check the trials by pages, so that no writer waits for long; concurrent writes are no violation."""
    number = 0
    while page := database.read(partial(_page, first=number)):
        for trial, attempts, standings, reports in page:
            if trial["number"] != number:
                yield f"trial {number}: is missing, though trial {trial['number']} exists"
            cells = [*cells_of_trial(trial, attempts, standings, reports)]
            for violation in cells or _of_trial(trial, attempts, standings, spaces):
                yield f"trial {trial['number']}: {violation}"
            number = trial["number"] + 1


def _page(transaction: Transaction, first: int) -> list[tuple[Any, list[Any], list[Any], list[Any]]]:
    trials = rows(transaction, "trials", first=first, limit=_PAGE)
    of_trials: dict[str, dict[int, list[Any]]] = {
        query: defaultdict(list) for query in ("attempts", "standings", "reports")
    }
    for query, found in of_trials.items():
        for row in rows(transaction, query, first=first, last=trials[-1]["number"]) if trials else []:
            found[row["trial"]].append(row)
    return [(trial, *(found[trial["number"]] for found in of_trials.values())) for trial in trials]


def _of_trial(
    trial: Any, earlier: list[Any], standings: list[Any], spaces: dict[int, BoundSpace]
) -> Iterator[str]:
    if trial["space"] in spaces:  # else that was reported already
        yield from faults_of_combination(trial, spaces[trial["space"]])
        yield from _of_levels(trial, earlier, standings, spaces[trial["space"]])
    # The row of a trial that is queued or cancelled holds no attempt of its own.
    last = [] if trial["token"] is None else [(trial["attempts"], trial["state"])]
    attempts = [(row["attempt"], row["outcome"]) for row in earlier] + last
    n_attempts = len(attempts)
    if n_attempts != trial["attempts"] or [one for one, _ in attempts] != [*range(1, n_attempts + 1)]:
        yield f"{trial['attempts']} attempts were made, but earlier ones are missing"
    outcomes = [outcome for _, outcome in attempts]
    if trial["charged"] + trial["pardoned"] != sum(outcome != "released" for outcome in outcomes):
        counted = f"{trial['charged']} attempts are charged and {trial['pardoned']} pardoned"
        yield f"{counted}, and its attempts ended as {', '.join(outcomes)}"
    for row in [*earlier, trial]:
        if row["result"] is not None:
            yield from faults_of_result(row)


def _of_levels(trial: Any, earlier: list[Any], standings: list[Any], drawn_from: BoundSpace) -> Iterator[str]:
    if not all(drawn_from.has_level(trial["number"], row["level"]) for row in [*earlier, trial]):
        yield "it cannot be at its level"
    if drawn_from.rungs:
        bracket = drawn_from.first_level(trial["number"])
        expected = [
            (bracket, level, drawn_from.rungs.score(end.metric), int(level < trial["level"]))
            for level, end in sorted(ends_at_levels(attempts_at_levels(trial, earlier)).items())
        ]
        kept = [(row["bracket"], row["level"], row["score"], row["is_promoted"]) for row in standings]
        if kept != expected:
            yield "its places in the rungs differ from its attempts"
