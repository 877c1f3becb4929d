"""What the ledger's tests share: small searches, and short ways to ask and answer."""

import sqlite3
from contextlib import closing

from dahps_core.ledger import FILE_NAME, Search
from dahps_core.ledger.repair.check import violations
from dahps_core.model.records import Claim, Ending, Report
from dahps_core.space import SearchSpace
from dahps_core.strategies.brackets import Brackets


def space_of(*values, repetitions=1, check_unique=True):
    root = {"key": "x", "values": list(values), "default": None}
    config = {"root": root, "repetitions": repetitions, "check_unique": check_unique}
    return SearchSpace.from_config(config)


def grid(*values, **options):
    """A search in the order of the values, so that a test knows what comes next."""
    return Search(space_of(*values, **options), strategy="grid", seed=0)


def levelled(n=100, direction="minimize", strategy="hyperband", **options):
    """A search with levels: 1, 3 and 9 unless told otherwise, and then 9, 5 and 3 trials in a round."""
    options = {"brackets": 1 if strategy == "asha" else None, **(options or {"max_resource": 9})}
    return Search(space_of(*range(n)), strategy, direction, seed=0, brackets=Brackets.of(**options))


def register(ledger, run="run", host="host", pid=1, job=None, log=None):
    return ledger.register(run=run, host=host, pid=pid, job=job, log=log)


def ask(
    ledger,
    worker,
    *,
    max_trials=None,
    max_attempts=2,
    stop_after_failures=None,
    dead=(),
    alive=(),
    after=None,
    **known,
):
    return ledger.claim(
        worker,
        max_trials=max_trials,
        max_attempts=max_attempts,
        stop_after_failures=stop_after_failures,
        dead=dead,
        alive=alive,
        after=after,
        **known,
    )


def claimed(ledger, worker, **limits):
    draw = ask(ledger, worker, **limits)
    assert isinstance(draw, Claim), draw
    return draw


def claim_all(ledger, worker, **limits):
    """Claims until there are none, each left running; and the last answer."""
    claims = []
    while isinstance(draw := ask(ledger, worker, **limits), Claim):
        claims.append(draw)
    return claims, draw


def ending_of(claim, outcome="finished", **told):
    told = told or {"finished": {"result": 0.5, "metric": 0.5}, "released": {}}.get(
        outcome, {"error": "boom"}
    )
    return Ending(claim.number, claim.attempt, claim.token, outcome, **told)


REPORTS = (Report(1, 0.5), Report(2, float("nan")))


def finish(ledger, claim, metric=0.5, result=None, output_dir="out"):
    ledger.finish_if_held(
        claim, result=metric if result is None else result, metric=metric, output_dir=output_dir
    )


def fail(ledger, claim, error="boom"):
    ledger.fail_if_held(claim, error=error, output_dir="out")


def lose(ledger, claim):
    ledger.lose_if_held(claim, error="segmentation fault", output_dir="out")


def release(ledger, claim):
    ledger.release_if_held(claim, output_dir="out")


def record(ledger, number):
    return next(ledger.trials(number))


def sql(folder, statement, *parameters):
    """Straight at the file, past the ledger."""
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        return connection.execute(statement, parameters).fetchall()


def fill(folder, n_trials, state):
    """Trials of an earlier run from number 0 on, one attempt each if any, all by one worker."""
    result, metric = ("0.5", 0.5) if state == "finished" else (None, None)
    sql(folder, "INSERT INTO run (id) VALUES ('earlier')")
    sql(folder, "INSERT INTO worker (id, run, host, pid, started_at) VALUES ('old', 'earlier', 'h', 1, 0)")
    sql(
        folder,
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)"
        " INSERT INTO trial (number, space, position, combination, digest, repetition, state, attempts,"
        " charged, token, worker, started_at, ended_at, result, metric)"
        " SELECT i, 1, i, '{}', i, 0, ?, 1, 1, 'old' || i, 'old', 0, 0, ?, ? FROM n",
        *(n_trials, "died" if state not in ("finished", "failed", "released") else state, result, metric),
    )
    if state in ("queued", "cancelled"):
        sql(
            folder,
            "UPDATE trial SET state = ?, token = NULL, worker = NULL, started_at = NULL, ended_at = NULL",
            state,
        )


def assert_sound(folder):
    assert sql(folder, "PRAGMA integrity_check") == [("ok",)]
    assert sql(folder, "PRAGMA foreign_key_check") == []


def fill_rungs(folder, n_trials, brackets):
    """Trials as of `fill` that have ended in the first bracket; all promotions that were due were made."""
    fill(folder, n_trials, "finished")
    for level in range(len(brackets.levels)):
        there, above = brackets.eta**level, brackets.eta ** (level + 1) if level < brackets.top else 2**60
        n_above = n_trials // above
        sql(
            folder,
            "INSERT INTO rung (bracket, level, n_ended, n_top, n_promoted) VALUES (0, ?, ?, ?, ?)",
            *(level, n_trials // there, n_above, n_above),
        )
        sql(
            folder,
            "INSERT INTO standing (trial, bracket, level, score, is_top, is_promoted)"
            " SELECT number, 0, ?1, number + 1e9 * ((number + 1) % ?3 <> 0), (number + 1) % ?3 = 0,"
            " (number + 1) % ?3 = 0 FROM trial WHERE (number + 1) % ?2 = 0",
            *(level, there, above),
        )
        break_it(folder, f"UPDATE trial SET level = {level} WHERE (number + 1) % {there} = 0")


def break_it(folder, statement):
    """Write to the file what the schema would refuse."""
    with closing(sqlite3.connect(folder / FILE_NAME, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        if "TRIGGER" not in statement:
            connection.execute(statement)
        for name, trigger in triggers:
            if name not in statement:
                connection.execute(trigger)


def unsound(folder):
    """What `dahps check` finds, but for workers that hold several trials: here they do, real ones do not."""
    return [
        violation
        for violation in violations(folder)
        if not violation.endswith(("runs several trials", "is waiting"))
    ]
