"""What a claim costs does not depend on how many trials the ledger holds."""

import sqlite3

import pytest
from ledger_support import ask, claimed, fail, fill, finish, grid, register, release

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


def steps_among(n_trials, state, folder, monkeypatch):
    """The steps of SQLite's virtual machine that claims and answers take among so many trials."""
    steps = []
    connect = sqlite3.connect

    def counting(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.set_progress_handler(lambda: steps.append(1), 1)
        return connection

    with Ledger.join(folder, grid(*range(8))) as ledger:
        fill(folder, n_trials, state)
        ledger.close()
        with monkeypatch.context() as patched:
            patched.setattr(sqlite3, "connect", counting)
            every_kind_of_claim_and_answer(ledger)
    return len(steps)


@pytest.mark.parametrize("state", ["finished", "failed", "lost", "released", "queued", "cancelled"])
def test_steps_of_a_claim(tmp_path, monkeypatch, state):
    few = steps_among(20, state, tmp_path / "few", monkeypatch)
    many = steps_among(20_000, state, tmp_path / "many", monkeypatch)
    assert few > 1000
    assert many <= 1.05 * few
