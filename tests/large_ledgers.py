"""Ledgers of any size, written in bulk past the claims: a million trials of a realistic search in a minute.

All rows pass the schema's constraints, and `dahps check` finds no fault in them.
"""

import json
import math
import random
import sqlite3
from collections.abc import Iterable
from contextlib import closing

from dahps_core import Ledger
from dahps_core.ledger import FILE_NAME
from tests.synthetic import loss_of

N_WORKERS = 64
SECONDS_PER_TRIAL = 600.0
#: Every trial whose number is a multiple of this has a history of this many steps.
WITH_HISTORY = 20
STEPS = 5

#: One attempt: its level, its outcome, its metric.
Attempt = tuple[int, str, float | None]


def fill(folder, search, n_trials, seed=0):
    """Make a ledger of a search whose first trials have finished, failed or were lost.

    With levels, all promotions that were due have been made, and the promoted trials have ended.
    """
    luck = random.Random(seed)
    with Ledger.join(folder, search) as ledger:
        bound, search = ledger._bound, ledger.search
    drawn = [bound.trial_at(position) for position in range(n_trials)]
    losses = [loss_of(combination, luck) for combination, _ in drawn]
    rungs, standings = [], []
    if search.brackets:
        trials = _promoted(losses, search, luck, rungs, standings)
    else:
        trials = [_evaluated(loss, luck) for loss in losses]
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        _insert(connection, "run", _runs(trials))
        _insert(connection, "worker", map(_worker_row, range(N_WORKERS)))
        connection.execute("UPDATE space SET cursor = ?", (n_trials,))
        rows = zip(range(n_trials), drawn, trials, strict=True)
        _insert(connection, "trial", (_trial_row(*one) for one in rows))
        earlier = ((number, *one) for number, trial in enumerate(trials) for one in enumerate(trial[:-1], 1))
        _insert(connection, "attempt", (_attempt_row(*one) for one in earlier))
        with_history = ((number, len(trials[number])) for number in range(0, n_trials, WITH_HISTORY))
        _insert(
            connection,
            "report",
            ((*one, step, 1 / (1 + step), 0) for one in with_history for step in range(STEPS)),
        )
        _insert(connection, "rung", rungs)
        _insert(connection, "standing", standings)


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[tuple]) -> None:
    columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
    connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' for _ in columns)})", rows)


def _evaluated(loss: float, luck: random.Random) -> list[Attempt]:
    """The attempts of a trial of a strategy without levels; a few failed first and were repeated."""
    first: list[Attempt] = [(0, "failed", None)] if luck.random() < 0.03 else []
    return [*first, (0, *_end(loss, luck))]


def _end(loss: float, luck: random.Random) -> tuple[str, float | None]:
    fate = luck.random()
    if fate < 0.03:
        return ("failed" if fate < 0.02 else "died"), None
    return "finished", math.nan if fate < 0.035 else math.inf if fate < 0.04 else round(loss, 4)


def _promoted(losses, search, luck, rungs, standings) -> list[list[Attempt]]:
    """The attempts of all trials of a strategy with levels, rung by rung."""
    trials: list[list[Attempt]] = [[] for _ in losses]
    brackets, sign = search.brackets, 1 if search.direction == "minimize" else -1
    for bracket in range(len(brackets.sizes)):
        there = [number for number in range(len(losses)) if brackets.bracket(number) == bracket]
        for level in range(bracket, len(brackets.levels)):
            ends = []
            for number in there:
                outcome, metric = _end(losses[number] + luck.gauss(0, 0.1) / (1 + level), luck)
                trials[number].append((level, outcome, metric))
                score = None if metric is None or math.isnan(metric) else sign * metric
                ends.append((score, len(standings) + len(ends), number))
            ranked = sorted(end for end in ends if end[0] is not None)
            top = set(ranked[: brackets.n_top(len(there), level)])
            rungs.append((bracket, level, len(there), len(top), len(top)))
            standings += [
                (place, number, bracket, level, score, *[int((score, place, number) in top)] * 2)
                for score, place, number in ends
            ]
            there = sorted(number for _, _, number in top)
    return trials


def _runs(trials: list[list[Attempt]]) -> list[tuple]:
    outcomes = [outcome for trial in trials for _, outcome, _ in trial]
    n_failed = outcomes.count("failed") + outcomes.count("died")
    return [("run", None, int("finished" in outcomes), n_failed, 0, 0)]


def _worker_row(n: int) -> tuple:
    return f"worker{n:03}", "run", f"node{n // 8}", 1000 + n, f"77_{n}", None, None, None, "left", 0.0, 1.0


def _trial_row(number: int, drawn: tuple, trial: list[Attempt]) -> tuple:
    combination, repetition = drawn
    level, state, _ = trial[-1]
    n_charged = sum(one[0] == level for one in trial)
    last = _attempt_row(number, len(trial), trial[-1])
    _, _, token, worker, started_at, ended_at, _, output_dir, error, _, *outcome = last
    return (
        *(number, 1, number, combination.to_json(), combination.digest(), repetition, state),
        *(len(trial), n_charged, len(trial) - n_charged, level, token, worker, started_at, ended_at),
        *(output_dir, error, *outcome),
    )


def _attempt_row(number: int, attempt: int, one: Attempt) -> tuple:
    level, outcome, metric = one
    is_nan = metric is not None and math.isnan(metric)
    started_at = 1.7e9 + SECONDS_PER_TRIAL * (number // N_WORKERS + 0.15 * attempt + 0.001 * (number % 97))
    error = None if outcome == "finished" else f"Traceback ...\nRuntimeError: {number % 7} went wrong"
    return (
        *(number, attempt, f"{number}.{attempt}", f"worker{number % N_WORKERS:03}"),
        *(started_at, started_at + 0.1 * SECONDS_PER_TRIAL),
        *(outcome, f"multirun/2026-11-28/{number}", error, level),
        *(None if is_nan else metric, int(is_nan), json.dumps(metric) if outcome == "finished" else None),
    )
