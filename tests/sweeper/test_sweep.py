"""The sweep as a person meets it, under Hydra's basic launcher."""

import math
import subprocess
import sys

import pytest

from tests.support import wait_until
from tests.sweeper.conftest import APPS, override

TREE = {
    "root": {
        "key": "y",
        "values": ["left", "right"],
        "left": {"key": "x", "values": [3, 1, 2], "default": None},
        "default": None,
    }
}


def states(app):
    return {trial["number"]: trial["state"] for trial in app.trials()}


def test_status_tells_what_the_multirun_s_budget_leaves(app):
    assert app.sweep(app.tree(TREE), "hydra.sweeper.max_trials=3").code == 0
    known = app.status()
    assert (known["max_trials"], known["left"], known["budget"], known["troubles"]) == (3, 0, 3, [])
    assert app.sweep(app.tree(TREE)).code == 0
    known = app.status()
    assert (known["max_trials"], known["left"], known["budget"]) == (None, 0, 4)


def test_every_combination_of_the_tree_is_run_once_and_the_best_is_named(app):
    outcome = app.sweep(app.tree(TREE), "hydra.sweeper.direction=maximize")
    assert outcome.code == 0, outcome.output
    assert app.runs() == {(number, 1): 1 for number in range(4)}
    combinations = [trial["combination"] for trial in app.trials()]
    for combination in combinations:
        assert combination.pop("record") == str(app.record)
    assert sorted(combinations, key=str) == [
        {"y": "left", "x": 1},
        {"y": "left", "x": 2},
        {"y": "left", "x": 3},
        {"y": "right"},
    ]
    results = outcome.results
    assert results["name"] == "dahps"
    assert results["best_value"] == 3
    assert results["best_params"] == {"record": str(app.record), "y": "left", "x": 3}
    best = app.trials()[results["best_trial"]]
    assert best["metric"] == 3
    assert results["best_output_dir"] == best["output_dir"]
    assert "y=left x=3" in outcome.output


def test_each_trial_has_the_folder_and_the_files_of_a_hydra_job(app):
    outcome = app.sweep(app.tree(TREE))
    for trial in app.trials():
        folder = outcome.folder / str(trial["number"])
        assert trial["output_dir"] == str(folder)
        overrides = (folder / ".hydra" / "overrides.yaml").read_text()
        assert f"y={trial['combination']['y']}" in overrides
        assert (folder / "recorder.log").exists()
    assert (outcome.folder / "multirun.yaml").exists()


def test_the_same_command_again_runs_nothing_and_tells_the_same_result(app):
    first = app.sweep(app.tree(TREE))
    second = app.sweep(app.tree(TREE))
    assert second.code == 0, second.output
    assert sum(app.runs().values()) == 4
    assert second.results == first.results
    assert "Nothing is left to run" in second.output


def test_a_budget_is_for_the_ledger_and_can_be_raised(app):
    tree = app.tree(TREE)
    app.sweep(tree, "hydra.sweeper.max_trials=1")
    assert len(app.trials()) == 1
    app.sweep(tree, "hydra.sweeper.max_trials=3")
    assert len(app.trials()) == 3
    assert set(app.runs().values()) == {1}


def test_grid_goes_in_the_order_of_the_tree_and_random_in_that_of_the_seed(app, tmp_path):
    app.sweep("x=range(6)", "hydra.sweeper.strategy.name=grid")
    assert [trial["combination"]["x"] for trial in app.trials()] == list(range(6))
    orders = []
    for number in range(2):
        app.ledger = tmp_path / f"ledger{number}"
        app.sweep("x=range(6)", "hydra.sweeper.seed=7", override("hydra.sweeper.ledger", app.ledger))
        orders.append([trial["combination"]["x"] for trial in app.trials()])
    assert orders[0] == orders[1] != list(range(6))
    assert sorted(orders[0]) == list(range(6))


def test_sweeps_on_the_command_line_are_levels_and_other_overrides_hold_for_all(app):
    outcome = app.sweep("x=0.5,1e-3", "y=choice(a,'b, c')", "+extra=[1,{k: v}]")
    assert outcome.code == 0, outcome.output
    combinations = [trial["combination"] for trial in app.trials()]
    assert len(combinations) == 4
    assert {(c["x"], c["y"]) for c in combinations} == {(x, y) for x in (0.5, 1e-3) for y in ("a", "b, c")}
    assert all(c["+extra"] == [1, {"k": "v"}] for c in combinations)


def test_repetitions_are_trials_of_their_own_and_know_which_they_are(app):
    app.sweep(app.tree({"repetitions": 3, **TREE}))
    repetitions = sorted((str(t["combination"]), t["repetition"]) for t in app.trials())
    assert len(set(repetitions)) == 12
    assert {repetition for _, repetition in repetitions} == {0, 1, 2}


def test_a_trial_that_raises_is_retried_and_its_traceback_kept(app):
    outcome = app.sweep("x=1,2", "behaviour=normal,'raise once'")
    assert outcome.code == 0, outcome.output
    assert set(states(app).values()) == {"finished"}
    attempts = {t["number"]: t["attempts"] for t in app.trials()}
    assert sorted(attempts.values()) == [1, 1, 2, 2]
    assert set(app.runs().values()) == {1}


def test_attempts_have_an_end(app):
    outcome = app.sweep("x=1,2", "behaviour=normal,raise", "hydra.sweeper.max_attempts=2")
    assert outcome.code == 0, outcome.output
    failed = [trial for trial in app.trials() if trial["state"] == "failed"]
    assert [trial["attempts"] for trial in failed] == [2, 2]
    assert all("ValueError: x is" in trial["error"] for trial in failed)
    assert all("in behave" in trial["error"] for trial in failed)


def test_a_search_whose_first_trials_all_fail_stops_and_says_so(app):
    outcome = app.sweep("x=range(50)", "behaviour=raise", "hydra.sweeper.stop_after_failures=4")
    assert outcome.code == 1
    assert sum(app.runs().values()) == 4
    assert "all 4 attempts of this multirun failed" in outcome.output
    assert "Fix it and rerun the same command" in outcome.output
    assert "ValueError: x is" in outcome.output


def test_it_goes_on_when_what_made_all_trials_fail_is_mended(app):
    app.sweep("x=range(5)", "behaviour=raise", "hydra.sweeper.stop_after_failures=2")
    outcome = app.sweep(
        "x=range(5)", "behaviour=raise", "hydra.sweeper.stop_after_failures=2", env={"MENDED": "1"}
    )
    assert outcome.code == 0, outcome.output


def test_what_is_no_number_is_recorded_and_never_best(app):
    outcome = app.sweep("x=5", "behaviour=normal,undefined")
    assert {trial["metric"] for trial in app.trials()} == {5, "nan"}
    assert outcome.results["best_value"] == 5


def test_a_mapping_of_metrics_needs_the_name_of_the_objective(app):
    outcome = app.sweep(
        "x=0.25,0.5", "behaviour=mapping", "hydra.sweeper.metric=accuracy", "hydra.sweeper.direction=maximize"
    )
    assert math.isclose(outcome.results["best_value"], 0.75)


def test_what_cannot_rank_fails_with_a_reason(app):
    app.sweep("x=1", "behaviour=normal,text", "hydra.sweeper.max_attempts=1")
    (failed,) = [trial for trial in app.trials() if trial["state"] == "failed"]
    assert failed["error"].startswith("the trial's result is 'good' of type str")


def test_without_a_tree_there_is_one_trial(app):
    outcome = app.sweep("x=4")
    assert outcome.results["best_value"] == 4
    assert len(app.trials()) == 1


def test_a_plain_run_needs_no_search(app):
    subprocess.run(
        [sys.executable, APPS / "recorder.py", override("record", app.record)], cwd=app.folder, check=True
    )
    assert app.runs() == {(-1, 0): 1}


@pytest.mark.parametrize("launcher", ["basic", "submitit_local"])
def test_a_multirun_ends_when_its_time_is_up(app, launcher):
    """What runs then is finished; the same command again has its time anew."""
    go_on = app.folder / "go on"
    options = ["x=range(9)", f"hydra/launcher={launcher}", "hydra.sweeper.n_workers=1"]
    options.append(override("wait_for", go_on))
    process = app.start(*options, "hydra.sweeper.max_time=0.5")
    wait_until(app.runs, 60, "the first trial")
    begun = app.record.stat().st_mtime
    now = app.folder / "now"
    wait_until(lambda: [now.touch(), now.stat().st_mtime > begun + 0.5][1], 60, "the end of the time")
    go_on.touch()
    outcome = app.wait(process)
    assert outcome.code == 0, outcome.output
    assert [trial["state"] for trial in app.trials()] == ["finished"]
    assert "Best trial" in outcome.output
    assert "max_time is over" in outcome.output
    assert "8 trials are left" in outcome.output
    assert app.sweep(*options, "hydra.sweeper.max_time=1e6").code == 0
    assert len(app.trials()) == 9


def test_a_time_that_cannot_be_is_told(app):
    outcome = app.sweep("x=1,2", "hydra.sweeper.max_time=0")
    assert outcome.code == 1
    assert "max_time is 0.0. Give more than 0." in outcome.output
    assert not app.ledger.exists()
