"""What a search leaves to be read: optimization_results.yaml, and the last lines."""

import signal
import statistics

import pytest

from tests.support import wait_until

LOCALLY = ["hydra/launcher=submitit_local", "hydra.sweeper.n_workers=1"]


def test_the_results_have_the_names_of_the_optuna_sweeper_and_more(app):
    outcome = app.sweep("x=3,1,2", "behaviour=mapping", "hydra.sweeper.metric=loss")
    assert outcome.code == 0, outcome.output
    (best,) = [trial for trial in app.trials() if trial["metric"] == 1]
    assert outcome.results == {
        "name": "dahps",
        "best_params": best["combination"],
        "best_value": 1,
        "best_trial": best["number"],
        "best_output_dir": best["output_dir"],
        "metric": "loss",
        "direction": "minimize",
    }


def leaf(key, *values):
    return {"key": key, "values": list(values), "default": None}


def test_of_repetitions_the_mean_counts(app):
    lucky, good = [0.0, 9.0, 9.0], [2.0, 1.0, 3.0]
    tree = app.tree({"root": leaf("x", lucky, good), "repetitions": 3})
    outcome = app.sweep(tree, "behaviour=by repetition")
    assert outcome.code == 0, outcome.output
    results = outcome.results
    assert results["best_params"]["x"] == good
    assert results["best_value"] == statistics.mean(good) == 2
    assert results["best_std"] == statistics.stdev(good) == 1
    assert results["best_repetitions"] == 3
    assert app.trials()[results["best_trial"]]["metric"] == 1, "the best repetition"
    assert f"Best trial #{results['best_trial']}: metric 2 ± 1 (n=3)" in outcome.output
    assert f"best 2 ± 1 (n=3) (#{results['best_trial']})" in outcome.output


def test_where_nothing_has_finished_there_are_no_results(app):
    outcome = app.sweep("x=1", "behaviour=raise")
    assert outcome.code == 1
    assert not (outcome.folder / "optimization_results.yaml").exists()


@pytest.mark.parametrize("where", [[], LOCALLY], ids=["basic", "submitit_local"])
def test_they_are_written_after_a_ctrl_c_as_well(app, where):
    gate = app.folder / "gate"
    tree = app.tree({"root": leaf("wait_for", None, str(gate))})
    sweep = app.start(tree, "x=5", "hydra.sweeper.strategy.name=grid", *where)
    wait_until(lambda: len(app.runs()) == 2, 60, "the trial that waits")
    sweep.send_signal(signal.SIGINT)
    outcome = app.wait(sweep)
    assert outcome.code == 130, outcome.output
    assert (outcome.results["best_value"], outcome.results["best_trial"]) == (5, 0)
