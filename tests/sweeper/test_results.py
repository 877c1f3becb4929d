"""What a search leaves to be read: optimization_results.yaml, and the last lines."""

import math
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
        "done": 3,
        "left": 0,
        "budget": 3,
        "unit": "trials",
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
    assert f"Best trial #{results['best_trial']}: metric 2 ± 1 (n=3/3)" in outcome.output
    assert f"best 2 ± 1 (n=3/3) (#{results['best_trial']})" in outcome.output
    assert results["left_out_combinations"] == {"unfinished": 0, "failed": 0, "unmeasured": 0}
    assert "left out" not in outcome.output


def test_a_combination_with_a_nan_does_not_disappear_without_a_word(app):
    lucky, good = [0.0, math.nan, 0.0], [2.0, 1.0, 3.0]
    outcome = app.sweep(
        app.tree({"root": leaf("x", lucky, good), "repetitions": 3}), "behaviour=by repetition"
    )
    assert outcome.code == 0, outcome.output
    assert outcome.results["best_params"]["x"] == good
    assert outcome.results["left_out_combinations"] == {"unfinished": 0, "failed": 0, "unmeasured": 1}
    assert "1 incomplete combination left out: 1 with a repetition whose metric is NaN" in outcome.output
    assert "dahps best --incomplete" in outcome.output


@pytest.mark.parametrize("more", [[], ["hydra.sweeper.dry_run=true"]], ids=["run", "dry run"])
def test_levels_and_repetitions_do_not_go_together(app, more):
    tree = app.tree({"root": leaf("x", 1, 2), "repetitions": 3})
    levels = ["hydra.sweeper.strategy.name=hyperband", "hydra.sweeper.strategy.max_resource=9"]
    outcome = app.sweep(tree, *levels, "hydra.sweeper.strategy.resource_key=number", *more)
    assert outcome.code == 1
    assert "hyperband promotes single trials" in outcome.output
    assert "Remove repetitions" in outcome.output
    assert "Traceback" not in outcome.output
    assert not app.runs()


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
