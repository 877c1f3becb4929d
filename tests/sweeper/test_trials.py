"""What a trial offers to an app, and what stands in for it in a plain run."""

import json
import subprocess
import sys

import pytest
import torch

from dahps_core import Ledger
from tests.sweeper.conftest import APPS, override

LOCALLY = ["hydra/launcher=submitit_local", "hydra.sweeper.n_workers=1"]


@pytest.fixture
def app(app):
    app.script = APPS / "trials.py"
    app.ledger = app.folder / "dahps" / "trials"
    return app


def plain_run(app, *overrides):
    folder = app.folder / "run"
    command = [sys.executable, str(app.script), override("hydra.run.dir", folder), "hydra.job.chdir=true"]
    subprocess.run([*command, *overrides], cwd=app.folder, check=True, timeout=120)
    return folder, json.loads((folder / "facts.json").read_text())


def test_resolvers_in_a_trial(app):
    outcome = app.sweep("x=5", "hydra.job.chdir=true")
    assert outcome.code == 0, outcome.output
    assert json.loads((outcome.folder / "0" / "facts.json").read_text()) == {
        "number": 0,
        "attempt": 1,
        "repetition": 0,
        "level": 0,
        "resource": None,
        "checkpoint_dir": str(app.ledger / "checkpoints" / "0"),
        "defaults": [0, 1, 9],
    }


def test_resolvers_in_a_plain_run(app):
    folder, facts = plain_run(app)
    assert facts == {
        "number": None,
        "attempt": 1,
        "repetition": 0,
        "level": 0,
        "resource": None,
        "checkpoint_dir": str(folder / "checkpoints"),
        "defaults": [7, None, 9],
    }


def test_a_plain_run_that_is_run_again_goes_on(app):
    plain_run(app)
    folder, _ = plain_run(app)
    assert [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()] == [
        {"step": 1, "metric": 1.0},
        {"step": 2, "metric": 2.0},
    ]


def test_a_resolver_that_there_is_not_is_told(app):
    command = [sys.executable, str(app.script), r"facts.number=${dahps:nubmer,3}"]
    run = subprocess.run(command, cwd=app.folder, capture_output=True, text=True, timeout=120, check=False)
    assert "a trial has no 'nubmer', it has number, attempt" in run.stderr


def test_the_best_trials_keep_their_checkpoints(app):
    outcome = app.sweep("x=range(3)", "hydra.sweeper.keep_checkpoints=2", *LOCALLY)
    assert outcome.code == 0, outcome.output
    best = sorted(app.trials(), key=lambda trial: trial["metric"])[:2]
    kept = {int(path.name) for path in (app.ledger / "checkpoints").iterdir()}
    assert kept == {trial["number"] for trial in best}
    with Ledger.open(app.ledger) as ledger:
        for trial in app.trials():
            assert ledger.history(trial["number"]) == [(1, 1, trial["metric"] + 1)]


def test_a_trial_that_replaces_its_output_finishes(app):
    app.script = APPS / "tee.py"
    app.ledger = app.folder / "dahps" / "tee"
    outcome = app.sweep("x=range(1,3)", *LOCALLY)
    assert outcome.code == 0, outcome.output
    assert sorted(trial["metric"] for trial in app.trials()) == [1, 2]


def test_a_number_of_checkpoints_that_cannot_be_is_told(app):
    outcome = app.sweep("x=1", "hydra.sweeper.keep_checkpoints=-1")
    assert outcome.code == 1
    assert "keep_checkpoints is -1. Give a number of trials, 0 for none, or null for all." in outcome.output
    assert not app.ledger.exists()


def test_of_the_ranks_of_a_trial_the_first_one_reports_and_saves(app):
    outcome = app.sweep("x=3", "hydra.launcher.tasks_per_node=2", *LOCALLY)
    assert outcome.code == 0, outcome.output
    with Ledger.open(app.ledger) as ledger:
        assert ledger.history(0) == [(1, 1, 4.0)]
    saved = torch.load(app.ledger / "checkpoints" / "0" / "checkpoint.pt", weights_only=True)
    assert saved == {"step": 1, "rank": "0"}


def test_a_trial_in_a_process_of_its_own_is_told_to_stop(app):
    app.script = APPS / "stopping.py"
    app.ledger = app.folder / "dahps" / "stopping"
    stopping = ["hydra.sweeper.strategy.stop=median", "hydra.sweeper.strategy.stop_after=2"]
    outcome = app.sweep("x=range(8)", "hydra/sweeper/strategy=grid", *stopping, *LOCALLY)
    assert outcome.code == 0, outcome.output
    with Ledger.open(app.ledger) as ledger:
        n_reports = [len(ledger.history(number)) for number in range(8)]
    assert n_reports == [10] * 5 + [2] * 3, "the first five have none to be held against"
