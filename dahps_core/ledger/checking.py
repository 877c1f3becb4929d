"""`dahps check`: every invariant of a ledger, and each breach."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from dahps_core.combination import Combination
from dahps_core.errors import LedgerDamagedError, LedgerVersionError
from dahps_core.ledger.bound_space import BoundSpace
from dahps_core.ledger.connection import Database, Transaction
from dahps_core.ledger.folder import FILE_NAME, locking_of
from dahps_core.ledger.ledger import PATIENCE_S
from dahps_core.ledger.making import SCHEMA_VERSION, is_empty, version
from dahps_core.ledger.opening import bound, search_of
from dahps_core.ledger.rungs import Rungs, ends_at_levels
from dahps_core.ledger.statements import statements
from dahps_core.ledger.storage import not_a_ledger
from dahps_core.space import SearchSpace

_CARE = statements("care.sql")
_PAGE = 1000


def breaches(folder: Path, patience_s: float = PATIENCE_S) -> Iterator[str]:
    """A line for each invariant that a ledger breaks. It is only read, and may be in use.

    Raises:
        LedgerError: It cannot be read at all.
    """
    with closing(_database(folder, patience_s)) as database:
        is_sound = True
        for breach in _of_database(database):
            is_sound = False
            yield breach
        if is_sound:
            yield from _telling(_of_files(folder, database))


def is_damaged(folder: Path, patience_s: float = PATIENCE_S) -> bool:
    """Whether the database of a ledger breaks any invariant; raises as `breaches` does."""
    with closing(_database(folder, patience_s)) as database:
        return any(_of_database(database))


def _database(folder: Path, patience_s: float) -> Database:
    return Database(folder / FILE_NAME, patience_s=patience_s, locking=locking_of(folder) or "fcntl")


def _telling(breaches: Iterator[str]) -> Iterator[str]:
    """Damage that ends the search for breaches is one of them."""
    try:
        yield from breaches
    except LedgerDamagedError as error:
        yield str(error)


def _of_database(database: Database) -> Iterator[str]:
    return _telling(_of_tables(database))


def _of_tables(database: Database) -> Iterator[str]:
    damage = database.read(partial(_damage, path=database.folder / FILE_NAME))
    yield from damage
    if not damage:
        yield from database.read(partial(_of_the_whole, locking=database.locking))
        spaces = database.read(_bound_spaces)
        for rungs in [space.rungs for space in spaces.values() if space.rungs][:1]:
            yield from database.read(partial(_of_rungs, rungs=rungs))
        yield from _of_trials(database, spaces)


def rows(transaction: Transaction, query: str, **parameters: int) -> list[Any]:
    """The rows of a statement of `care.sql`."""
    return transaction.execute(_CARE[query], dict(parameters)).fetchall()


def _damage(transaction: Transaction, path: Path) -> list[str]:
    if is_empty(transaction, path):
        raise not_a_ledger(path, "there is no ledger here")
    if version(transaction) < SCHEMA_VERSION:
        raise LedgerVersionError(
            f"the ledger has schema {version(transaction)}, an older one",
            where=str(path),
            mend="Open it with any other command, which upgrades it",
        )
    found = [row[0] for row in rows(transaction, "integrity") if row[0] != "ok"]
    return [f"{path}: SQLite: {line}" for text in found for line in text.splitlines()]


def _of_the_whole(transaction: Transaction, locking: str) -> list[str]:
    found = [
        f"table {row[0]}, row {row[1]}: refers to a row of {row[2]} that is not there"
        for row in rows(transaction, "references")
    ]
    meta = transaction.row("meta")
    if meta is None:
        return [*found, "meta: nothing says what is searched"]
    if meta["locking"] != locking:
        found.append(f"meta: locking is {meta['locking']}, and the file is one of {locking}")
    found += [
        f"token {row['token']}: fences several attempts" for row in rows(transaction, "repeated_tokens")
    ]
    found += [
        f"run {row['id']}: its summary does not agree with its attempts"
        for row in rows(transaction, "wrong_runs")
    ]
    found += [
        f"trial {row['trial']}: holds the history of attempt {row['attempt']}, which was never made"
        for row in rows(transaction, "unmade_attempts")
    ]
    return found + _of_cursors(rows(transaction, "spaces"))


def _of_cursors(spaces: list[Any]) -> list[str]:
    # A space's cursor also passes over what a person asked for, and what another space has drawn.
    alone = len(spaces) == 1
    found = []
    for space in spaces:
        name, cursor, n_drawn = f"space {space['id']}", space["cursor"], space["n_drawn"]
        if n_drawn > cursor or (alone and n_drawn + space["n_enqueued"] < cursor):
            found.append(f"{name}: its cursor is {cursor}, and {n_drawn} trials were drawn")
        if space["n_asked_for"] != space["n_enqueued"]:
            found.append(f"{name}: of {space['n_enqueued']} enqueued trials {space['n_asked_for']} are there")
    return found


def _of_rungs(transaction: Transaction, rungs: Rungs) -> list[str]:
    found = []
    for row in rows(transaction, "rungs"):
        kept = (row["n_ended"], row["n_top"], row["n_promoted"])
        n_top = min(rungs.brackets.n_top(row["n"], row["level"]), row["n_scores"])
        if kept != (row["n"], n_top, row["n_gone"]) or n_top != row["n_in_top"]:
            found.append(f"{_named(row)}: what is counted there is not what is there")
    found += [
        f"{_named(row)}: a trial outside its top is better than one of it"
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
    """By pages, so that no writer waits for long; what is written meanwhile is no breach."""
    number = 0
    while page := database.read(partial(_page, first=number)):
        for trial, attempts, standings in page:
            if trial["number"] != number:
                yield f"trial {number}: is missing, though trial {trial['number']} is there"
            for breach in _of_trial(trial, attempts, standings, spaces):
                yield f"trial {trial['number']}: {breach}"
            number = trial["number"] + 1


def _page(transaction: Transaction, first: int) -> list[tuple[Any, list[Any], list[Any]]]:
    trials = rows(transaction, "trials", first=first, limit=_PAGE)
    of_trials: dict[str, dict[int, list[Any]]] = {
        "attempts": defaultdict(list),
        "standings": defaultdict(list),
    }
    for query, found in of_trials.items():
        for row in rows(transaction, query, first=first, last=trials[-1]["number"]) if trials else []:
            found[row["trial"]].append(row)
    return [(trial, *(found[trial["number"]] for found in of_trials.values())) for trial in trials]


def _of_trial(
    trial: Any, earlier: list[Any], standings: list[Any], spaces: dict[int, BoundSpace]
) -> Iterator[str]:
    if trial["space"] in spaces:  # else that was told already
        yield from faults_of_combination(trial, spaces[trial["space"]])
        yield from _of_levels(trial, earlier, standings, spaces[trial["space"]])
    # The row of a trial that is queued or cancelled holds no attempt of its own.
    last = [] if trial["token"] is None else [(trial["attempts"], trial["state"])]
    attempts = [(row["attempt"], row["outcome"]) for row in earlier] + last
    if [attempt for attempt, _ in attempts] != list(range(1, trial["attempts"] + 1)):
        yield f"{trial['attempts']} attempts were made, and those before the last are not all there"
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
            yield "it does not stand in its rungs as it ended there"


def attempts_at_levels(trial: Any, earlier: list[Any]) -> Iterator[tuple[int, str, float | None, float]]:
    """The attempts of a trial as `ends_at_levels` takes them."""
    for row in earlier:
        yield row["level"], row["outcome"], _metric(row), row["ended_at"]
    yield trial["level"], trial["state"], _metric(trial), trial["ended_at"]


def _metric(row: Any) -> float | None:
    return math.nan if row["metric_is_nan"] else row["metric"]


def faults_of_combination(trial: Any, drawn_from: BoundSpace) -> Iterator[str]:
    """What is wrong with what a trial evaluates."""
    position = trial["position"]
    if position is not None and not 0 <= position < min(trial["cursor"], drawn_from.space.n_trials):
        yield f"position {position} was not drawn from its space yet"
        return
    try:
        found = Combination.from_json(trial["combination"])
    except (ValueError, AttributeError, RecursionError):
        yield "its combination cannot be read"
        return
    if position is None:
        if not _has(drawn_from.space, found, trial["repetition"]):
            yield "its combination is none of its space"
    elif (found, trial["repetition"]) != drawn_from.trial_at(position):
        yield "its combination is not the one that its space has there"
    if found.digest() != trial["digest"]:
        yield "its digest is another combination's"


def _has(space: SearchSpace, combination: Combination, repetition: int) -> bool:
    try:
        space.index(Combination(combination.items(), occurrence=repetition // space.repetitions))
    except ValueError:
        return False
    return True


def faults_of_result(trial: Any) -> Iterator[str]:
    """What is wrong with what a finished trial returned."""
    metric = _metric(trial)
    try:
        result = json.loads(trial["result"])
    except (ValueError, TypeError, RecursionError):
        yield "its result cannot be read"
        return
    numbers = list(result.values()) if isinstance(result, dict) else [result]
    if metric is None:
        is_sound = not isinstance(result, float)  # a number would be the metric
    else:
        is_sound = metric in numbers or (math.isnan(metric) and any(map(_is_nan, numbers)))
    if not is_sound:
        yield "its metric is not in its result"


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _of_files(folder: Path, database: Database) -> Iterator[str]:
    # First the files and then who they are of: what comes in between is no breach.
    checkpoints = _listed(folder / "checkpoints")
    n_drawn = int(database.read(lambda transaction: transaction.value("n_drawn")) or 0)
    for path in checkpoints:
        if path.name.isdecimal() and int(path.name) >= n_drawn:
            yield f"{path}: the checkpoints of a trial that was never drawn"
    beating = {path.name for path in _listed(folder / "heartbeats")}
    known = database.read(lambda transaction: {row["id"] for row in rows(transaction, "workers")})
    for worker in sorted(beating - known):
        yield f"{folder / 'heartbeats' / worker}: the heartbeat of a worker that never came"


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []  # nobody has needed it yet, or whoever does makes it anew
    except OSError as error:
        raise LedgerDamagedError(f"cannot be read ({error.strerror})", where=str(folder)) from error
