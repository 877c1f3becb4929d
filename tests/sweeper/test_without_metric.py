"""A search whose trials give nothing to rank ends soon, says what to write, and goes on when that is done."""

import pytest

from dahps_core.cli import main as dahps
from tests.sweeper.test_mistakes import assert_told

LOCAL = ["hydra/launcher=submitit_local", "hydra.sweeper.n_workers=1"]


@pytest.mark.parametrize("launcher", [[], LOCAL], ids=["basic", "submitit_local"])
def test_a_forgotten_return_fails_and_the_trials_run_again_when_it_is_written(app, launcher):
    command = ["x=range(9)", "behaviour=nothing", *launcher]
    outcome = app.sweep(*command)
    assert_told(outcome, "the result is None, and a search needs a metric", "`return accuracy`")
    if launcher:
        first = outcome.output.index("First failure, trial #")
        assert "`return accuracy`" in outcome.output[first:].partition("\n")[0], "at once, and what to write"
    assert len(app.runs()) == 5, "stop_after_failures"
    assert {trial["state"] for trial in app.trials()} == {"failed"}
    again = app.sweep(*command, env={"MENDED": "1"})
    assert again.code == 0, again.output
    assert [trial["state"] for trial in app.trials()] == ["finished"] * 9


def test_the_levels_of_a_search_count_a_result_of_none_as_a_failure(app):
    options = ["hydra/sweeper/strategy=asha", "hydra.sweeper.strategy.levels=[1,3]", "y=${dahps:resource}"]
    assert_told(app.sweep("x=range(9)", "behaviour=nothing", *options), "`return accuracy`")
    assert app.status()["levels"][0]["n_promoted"] == 0


def test_a_plain_sweep_accepts_none(app):
    outcome = app.sweep("x=1,2", "behaviour=nothing", "hydra.sweeper.ledger=null")
    assert outcome.code == 0, outcome.output


@pytest.mark.parametrize("launcher", [[], LOCAL], ids=["basic", "submitit_local"])
def test_a_metric_that_is_always_nan_stops_the_search(app, launcher, capsys):
    outcome = app.sweep("x=range(9)", "behaviour=undefined", *launcher)
    assert_told(outcome, "the metric of its first 5 finished trials is NaN", "stop_after_failures=null")
    assert len(app.trials()) == 5
    (trouble,) = app.status()["troubles"]
    assert "the metric of its first 5 finished trials is NaN, and 4 trials are left" in trouble
    assert dahps(["check", str(app.ledger)]) == 0, capsys.readouterr().out
    again = app.sweep("x=range(9)", "behaviour=undefined", *launcher, env={"MENDED": "1"})
    assert again.code == 0, again.output
    assert again.output.count("NaN") == 0
    assert len(app.trials()) == 9


def test_one_number_among_them_is_enough_to_go_on(app):
    tree = {"key": "behaviour", "values": ["undefined"], "default": None}
    tree = {"root": {"key": "x", "values": list(range(9)), 3: None, "default": tree}}
    outcome = app.sweep(app.tree(tree), "hydra.sweeper.strategy.name=grid")
    assert outcome.code == 0, outcome.output
    assert len(app.trials()) == 9


def test_a_search_without_that_limit_goes_on(app):
    outcome = app.sweep("x=range(6)", "behaviour=undefined", "hydra.sweeper.stop_after_failures=null")
    assert outcome.code == 0, outcome.output
    assert len(app.trials()) == 6
