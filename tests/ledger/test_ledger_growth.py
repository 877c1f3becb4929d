"""What a claim costs does not depend on how many trials the ledger holds."""

import sqlite3
from functools import partial

import pytest
from ledger_support import ask, claimed, fail, fill, fill_rungs, finish, grid, levelled, register, release

from dahps_core.ledger import Ledger


def every_kind_of_claim_and_answer(ledger):
    worker, other = register(ledger), register(ledger)
    knows = {"stop_after_failures": 3, "dead": ["nobody"], "alive": ["old"]}
    for edge in (release, finish, fail):
        edge(ledger, claimed(ledger, worker, **knows))
    for limits in ({}, {"max_trials": 1}, {"max_trials": 1, "max_attempts": 1}):
        ask(ledger, other, **limits, **knows)
    ledger.pause()
    ask(ledger, other, **knows)
    ledger.resume()
    ledger.cancel(claimed(ledger, worker, **knows).number)
    ledger.enqueue([{"x": 7}])
    ledger.best()


def steps_among(folder, monkeypatch, search, filled):
    """The steps of SQLite's virtual machine that claims and answers take among so many trials."""
    steps = []
    connect = sqlite3.connect

    def counting(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.set_progress_handler(lambda: steps.append(1), 1)
        return connection

    with Ledger.join(folder, search) as ledger:
        filled(folder)
        ledger.close()
        with monkeypatch.context() as patched:
            patched.setattr(sqlite3, "connect", counting)
            every_kind_of_claim_and_answer(ledger)
    return len(steps)


@pytest.mark.parametrize("state", ["finished", "failed", "lost", "released", "queued", "cancelled"])
def test_steps_of_a_claim(tmp_path, monkeypatch, state):
    few, many = (
        steps_among(tmp_path / str(n), monkeypatch, grid(*range(8)), partial(fill, n_trials=n, state=state))
        for n in (20, 20_000)
    )
    assert few > 1000
    assert many <= 1.05 * few


def test_steps_of_a_claim_with_rungs(tmp_path, monkeypatch):
    search = levelled(8, strategy="asha")
    few, many = (
        steps_among(
            tmp_path / str(n),
            monkeypatch,
            search,
            partial(fill_rungs, n_trials=n, brackets=search.brackets),
        )
        for n in (20, 20_000)
    )
    assert few > 1000
    assert many <= 1.05 * few
