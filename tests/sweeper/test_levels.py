"""HyperBand with the real sweeper: promoted trials go on from their checkpoints."""

import json
from collections import defaultdict

import pytest

from tests.sweeper.conftest import APPS

HYPERBAND = ["hydra/sweeper/strategy=hyperband", "hydra.sweeper.strategy.max_resource=9"]
TRAINING = ["hydra.sweeper.strategy.resource_key=n_steps", "step_s=0.01", "hydra.sweeper.seed=1"]


@pytest.fixture
def training(app):
    """An app that trains for `n_steps` in all, from its checkpoint."""
    app.script = APPS / "checkpointing.py"
    app.ledger = app.folder / "dahps" / "checkpointing"
    return app


def steps_of_trials(app):
    """Number -> the steps that its attempts made, in order."""
    steps = defaultdict(list)
    for line in app.record.read_text().splitlines():
        event = json.loads(line)
        if event["what"] == "step":
            steps[event["number"]].append(event["step"])
    return steps


@pytest.mark.parametrize("launcher", [["hydra/launcher=basic"], ["hydra/launcher=submitit_local"]])
def test_promoted_trials_go_on_where_they_were(training, launcher):
    outcome = training.sweep("x=range(20)", *HYPERBAND, *TRAINING, *launcher, "hydra.sweeper.n_workers=2")
    assert outcome.code == 0, outcome.output
    trials = training.trials()
    for number, steps in steps_of_trials(training).items():
        assert steps == list(range(1, trials[number]["resource"] + 1)), "each step once"
    levels = training.status()["levels"]
    assert [one["resource"] for one in levels] == [1, 3, 9]
    assert levels[0]["n_promoted"] >= 3
    best = training.status()["best"]
    assert best["resource"] == outcome.results["best_resource"] == 9
    assert f"metric {best['metric']} at the highest level, 9" in outcome.output
    assert f"best {best['metric']:.6g} at 9 (#{best['number']})" in outcome.output


def test_a_trial_learns_its_resource_by_a_resolver(app):
    outcome = app.sweep("x=range(3)", *HYPERBAND, "y=${dahps:resource}")
    assert outcome.code == 0, outcome.output
    seen = {line.split()[4] for line in app.record.read_text().splitlines()}
    assert seen == {"1", "3"}


@pytest.mark.parametrize(
    "options",
    [
        ["hydra/sweeper/strategy=asha", "hydra.sweeper.strategy.levels=[1,3]"],
        ["hydra.sweeper.strategy.name=hyperband", "hydra.sweeper.strategy.levels=[1,3]"],
    ],
)
def test_a_strategy_is_chosen_by_group_or_by_name(app, options):
    outcome = app.sweep("x=range(6)", *options)
    assert outcome.code == 0, outcome.output
    assert app.status()["strategy"] == options[0].partition("=")[2]
    assert app.status()["levels"][0]["n_promoted"] >= 1


def test_grid_is_a_group_too(app):
    assert app.sweep("x=2,1", "hydra/sweeper/strategy=grid").code == 0
    assert [trial["combination"]["x"] for trial in app.trials()] == [2, 1]


def test_a_search_ends_when_its_resource_is_used(app):
    outcome = app.sweep("x=range(50)", *HYPERBAND, "hydra.sweeper.max_resource_total=15")
    assert outcome.code == 0, outcome.output
    used = [(1, 3, 9)[trial["level"]] for trial in app.trials()]
    assert 9 < sum(used) <= 15
    assert (
        "Nothing is left"
        in app.sweep("x=range(50)", *HYPERBAND, "hydra.sweeper.max_resource_total=15").output
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["hydra/sweeper/strategy=hyperband"], "strategy.max_resource: max_resource is not set"),
        ([*HYPERBAND, "hydra.sweeper.strategy.eta=1"], "strategy.eta: 1 is invalid"),
        (["hydra.sweeper.strategy.eta=3"], "strategy.eta: random has no levels"),
        (["hydra.sweeper.max_resource_total=9"], "max_resource_total: random has no levels"),
        ([*HYPERBAND, "hydra.sweeper.strategy.resource_key=x"], "x is set by the search space"),
        ([*HYPERBAND, "hydra.sweeper.strategy.resource_key=y", "y=3"], "y is set by the search space"),
        ([*HYPERBAND, "hydra.sweeper.strategy.resource_key=epoch"], "epoch"),
        ([*HYPERBAND, "hydra.sweeper.max_resource_total=-1"], "max_resource_total is -1.0"),
        (["hydra/sweeper/strategy=asha", "hydra.sweeper.strategy.brackets=2"], "asha has one bracket"),
    ],
)
def test_mistakes_are_told_and_make_no_ledger(app, options, words):
    outcome = app.sweep("x=range(3)", *options)
    assert outcome.code == 1
    assert words in outcome.output
    assert "Traceback" not in outcome.output
    assert not app.ledger.exists()
