"""`dahps recover` of a damaged ledger: a new one, of all that could be read of the old one."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from dahps_core.errors import ConfigurationError
from dahps_core.ledger.claiming.bound_space import BoundSpace
from dahps_core.ledger.claiming.rungs import ends_at_levels
from dahps_core.ledger.folder.ledger_folder import FILE_NAME, locking_of
from dahps_core.ledger.ledger import Ledger
from dahps_core.ledger.repair.repair_rows import WITHOUT_ATTEMPT, Row
from dahps_core.ledger.repair.salvage import Salvage, salvage, undrawn_from
from dahps_core.ledger.repair.trial_faults import attempts_at_levels
from dahps_core.ledger.sqlite.backoff import Patience
from dahps_core.ledger.sqlite.database import Transaction
from dahps_core.ledger.sqlite.lock_epochs import journal_of, newest_database
from dahps_core.ledger.sqlite.statements import statements
from dahps_core.model.combination import Combination

_CARE = statements("care.sql")
_GONE = "its ledger was damaged"


def rebuild(old: Path, new: Path) -> list[str]:
    """Make a new ledger of what can be read of a damaged one, which stays as it is.

    Trials that cannot be read are run again, without checkpoints: which of them had which number is not
    certain. A trial that was running is considered lost, but its holder may still record its end.

    Returns:
        What was kept and what was not, a line each.

    Raises:
        LedgerDamagedError: What is searched cannot be read.
        ConfigurationError: There is something where the new ledger should be.
    """
    if new.exists():
        raise ConfigurationError("already exists", where=str(new), hint="Give another folder with --into")
    with tempfile.TemporaryDirectory(dir=old.parent, prefix=".dahps-recover-") as name:
        found = salvage(_copied(_database_of(old), Path(name)), _database_of(old))
        made = Path(name) / "new"
        for search in found.searches:
            Ledger.join(made, search, on_change="extend", locking=locking_of(old) or "fcntl").close()
        lines = _fill(found, _database_of(made))
        _link_checkpoints(found, old, made)
        made.rename(new)
    return [f"rebuilt as {new}", *lines]


def _database_of(folder: Path) -> Path:
    name = folder / FILE_NAME
    return newest_database(name) if locking_of(folder) == "folder" else name


def _copied(source: Path, folder: Path) -> Path:
    """Yield a copy to read: half-written transactions are rolled back in the copy only."""
    for path, suffix in ((source, ""), (journal_of(source), "-journal")):
        if path.is_file():
            shutil.copyfile(path, folder / f"{FILE_NAME}{suffix}")
    return folder / FILE_NAME


def _fill(found: Salvage, path: Path) -> list[str]:
    run = f"recovered-{secrets.token_hex(4)}"
    unknown = {"id": secrets.token_hex(8), "run": run, "host": "?", "pid": 0, "job": None, "log": None}
    unknown |= {"started_at": time.time(), "ended_at": None}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_CARE["put_created_at"], {"created_at": found.created_at})
        known = {worker["id"] for worker in found.workers}
        folders = {one["id"]: one["folder"] for one in found.runs}
        for worker in [*found.workers, unknown]:
            connection.execute(_CARE["put_run"], {"id": worker["run"], "folder": folders.get(worker["run"])})
            connection.execute(_CARE["put_worker"], worker)
        for space, _ in found.spaces:
            connection.execute(_CARE["put_space"], space)
        n_lost = _put_trials(connection, found, known, str(unknown["id"]))
        _put_standings(connection, found)
        connection.executemany(_CARE["put_report"], found.reports)
        connection.execute(_CARE["put_numbers_enqueued"])
        for space, order in found.spaces:
            n_between = sum(_is_between(trial, space["id"], order) for trial in found.trials.values())
            connection.execute(_CARE["put_number_between"], {"id": space["id"], "n_between": n_between})
        connection.execute(_CARE["put_summaries"])
        connection.execute("COMMIT")
    n_results = sum(trial["state"] == "finished" for trial in found.trials.values())
    return [
        f"{len(found.trials)} of {found.n_trials} trials could be read, {n_results} results are kept",
        f"{found.n_trials - len(found.trials)} trials could not be read and will be rerun",
        f"{n_lost} earlier attempts could not be read",
    ]


def _is_between(trial: Row, space: int, order: BoundSpace) -> bool:
    """Return whether a trial of a space lies between the listed values of its intervals."""
    if trial["space"] != space or trial["position"] is not None or not order.space.has_intervals:
        return False
    return not order.space.has(Combination.from_json(trial["combination"]), trial["repetition"])


def _put_trials(connection: sqlite3.Connection, found: Salvage, known: set[str], unknown: str) -> int:
    earlier: dict[tuple[int, int], Row] = {(row["trial"], row["attempt"]): row for row in found.attempts}
    drawn = {(trial["digest"], trial["repetition"]) for trial in found.trials.values()}
    missing = undrawn_from(found.spaces, drawn, and_beyond=True)
    n_lost = 0
    order = found.spaces[0][1]
    for number in range(found.n_trials):
        trial = found.trials.get(number) or {
            **_to_be_run_again(number, next(missing)[0]),
            "level": order.first_level(number),
        }
        has_attempt = trial["state"] not in WITHOUT_ATTEMPT
        attempts = [
            earlier.get((number, attempt)) or _lost_attempt(number, attempt, order.first_level(number))
            for attempt in range(1, trial["attempts"] + (not has_attempt))
        ]
        n_lost += sum(attempt["worker"] is None for attempt in attempts)
        outcomes = [attempt["outcome"] for attempt in attempts] + [trial["state"]] * has_attempt
        n_charged = sum(outcome != "released" for outcome in outcomes)
        trial["pardoned"] = min(trial["pardoned"], n_charged)
        trial["charged"] = n_charged - trial["pardoned"]
        if trial["state"] == "running":
            trial |= {"state": "lost", "ended_at": time.time(), "error": _GONE}
        for row in (trial, *attempts) if has_attempt else attempts:
            row["worker"] = row["worker"] if row["worker"] in known else unknown
        connection.execute(_CARE["put_trial"], trial)
        for attempt in attempts:
            connection.execute(_CARE["put_attempt"], attempt)
    return n_lost


def _to_be_run_again(number: int, drawn: Row) -> Row:
    now = time.time()
    return {
        **drawn,
        **dict.fromkeys(("worker", "output_dir", "metric", "result")),
        "number": number,
        "state": "died",
        "attempts": 1,
        "pardoned": 0,
        "token": secrets.token_hex(16),
        "started_at": now,
        "ended_at": now,
        "error": _GONE,
        "metric_is_nan": 0,
    }


def _put_standings(connection: sqlite3.Connection, found: Salvage) -> None:
    """Fill the rungs' standings from the copied trials, in the order of their ends."""
    rungs = found.spaces[0][1].rungs
    if rungs is None:
        return
    ends = []
    connection.row_factory = sqlite3.Row
    for trial in connection.execute(_CARE["salvage_trials"], {"first": 0}).fetchall():
        only = {"first": trial["number"], "last": trial["number"]}
        attempts = connection.execute(_CARE["attempts"], only).fetchall()
        for level, end in ends_at_levels(attempts_at_levels(trial, attempts)).items():
            ends.append((end.ended_at, trial["number"], level, end.metric))
    transaction = Transaction(connection, Patience(0))
    for _, number, level, metric in sorted(ends, key=lambda end: end[:3]):
        rungs.enter(transaction, number, level, metric)
    connection.execute(_CARE["put_promotions"])
    connection.execute(_CARE["put_numbers_promoted"])


def _lost_attempt(number: int, attempt: int, level: int) -> Row:
    now = time.time()
    return {
        "trial": number,
        "attempt": attempt,
        "token": secrets.token_hex(16),
        "worker": None,
        "started_at": now,
        "ended_at": now,
        "outcome": "lost",
        "output_dir": None,
        "error": _GONE,
        "level": level,
        "metric": None,
        "metric_is_nan": 0,
        "result": None,
    }


def _link_checkpoints(found: Salvage, old: Path, new: Path) -> None:
    for number in found.trials:
        checkpoints = old / "checkpoints" / str(number)
        if checkpoints.is_dir():
            (new / "checkpoints").mkdir(exist_ok=True)
            (new / "checkpoints" / str(number)).symlink_to(os.path.abspath(checkpoints))
