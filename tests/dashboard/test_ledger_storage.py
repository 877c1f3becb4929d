import math
import subprocess
import sys

import optuna
import pytest
from optuna.trial import TrialState

from dahps_core import Ledger, Search, SearchSpace
from dahps_core.dashboard import LedgerStorage
from dahps_core.errors import LedgerError
from dahps_core.model.records import Report
from tests import synthetic
from tests.ledger.ledger_support import (
    break_it,
    claimed,
    ending_of,
    fail,
    finish,
    grid,
    levelled,
    lose,
    register,
    release,
)

optuna.logging.disable_default_handler()


@pytest.fixture
def ledger(tmp_path):
    with Ledger.join(tmp_path / "größer <b>", grid(*range(9))) as ledger:
        yield ledger


def study_of(ledger):
    return optuna.load_study(study_name=None, storage=LedgerStorage(ledger.folder))


def test_the_study_bears_the_name_of_the_ledgers_folder(ledger):
    storage = LedgerStorage(ledger.folder)
    assert optuna.load_study(study_name="größer <b>", storage=storage).trials == []
    with pytest.raises(KeyError):
        optuna.load_study(study_name="another", storage=storage)


def test_each_state_has_its_counterpart(ledger):
    worker = register(ledger)
    finish(ledger, claimed(ledger, worker))
    lose(ledger, claimed(ledger, worker, max_attempts=1))
    fail(ledger, claimed(ledger, worker, max_attempts=1))
    held, running = claimed(ledger, worker, max_attempts=1), claimed(ledger, worker, max_attempts=1)
    release(ledger, held)
    study = study_of(ledger)
    assert [trial.state for trial in study.trials] == [
        TrialState.COMPLETE,
        TrialState.WAITING,
        TrialState.FAIL,
        TrialState.WAITING,
        TrialState.RUNNING,
    ]
    assert study.trials[running.number].params == {"x": 4}
    assert study.trials[2].user_attrs["error"] == "boom"


@pytest.mark.parametrize("metric", [math.nan, None])
def test_a_trial_without_a_number_has_failed_to_optuna(ledger, metric):
    finish(ledger, claimed(ledger, register(ledger)), metric)
    (trial,) = study_of(ledger).trials
    assert (trial.state, trial.value, trial.user_attrs["state"]) == (TrialState.FAIL, None, "finished")


def test_infinite_metrics_are_kept(ledger):
    finish(ledger, claimed(ledger, register(ledger)), math.inf)
    assert study_of(ledger).trials[0].value == math.inf


@pytest.mark.parametrize(("direction", "best"), [("minimize", 0), ("maximize", 2)])
def test_the_best_trial_is_the_ledgers(tmp_path, direction, best):
    search = Search(grid(1, 2, 3).space, strategy="grid", seed=0, direction=direction)
    with Ledger.join(tmp_path, search) as ledger:
        worker = register(ledger)
        for metric in (1.0, 2.0, 3.0):
            finish(ledger, claimed(ledger, worker), metric)
        assert study_of(ledger).best_trial.number == best == ledger.best().number


def test_the_best_trial_is_one_of_the_highest_level(tmp_path):
    with Ledger.join(tmp_path, levelled(30)) as ledger:
        worker = register(ledger)
        for number in range(30):
            claim = claimed(ledger, worker)
            finish(ledger, claim, number + 100.0 * claim.level)
        assert study_of(ledger).best_trial.number == ledger.best().number


def test_keys_are_absent_where_they_do_not_apply(tmp_path):
    root = {"key": "x", "values": ["a", "b"], "a": {"key": "y", "values": [1, 2], "default": None}, "b": None}
    with Ledger.join(tmp_path, Search(SearchSpace.from_config({"root": root}), "grid", seed=0)) as ledger:
        worker = register(ledger)
        for _ in range(3):
            finish(ledger, claimed(ledger, worker))
        study = study_of(ledger)
    assert [trial.params for trial in study.trials] == [{"x": "a", "y": 1}, {"x": "a", "y": 2}, {"x": "b"}]
    assert len({trial.distributions["x"] for trial in study.trials}) == 1


def test_values_that_optuna_cannot_tell_apart_are_carried_by_their_texts(tmp_path):
    with Ledger.join(tmp_path, grid([1, "a"], {"b": None}, 1, True, 1.0, None, "1")) as ledger:
        worker = register(ledger)
        for _ in range(7):
            finish(ledger, claimed(ledger, worker))
        found = [trial.params["x"] for trial in study_of(ledger).trials]
    assert found == ["[1,a]", "{b:null}", "1", "true", "1.0", "null", "'1'"]


def test_what_a_trial_tells_is_seen_while_it_runs(ledger):
    worker = register(ledger)
    claim = claimed(ledger, worker)
    study = study_of(ledger)
    assert study.trials[0].intermediate_values == {}
    ledger.record_history(claim, [Report(1, 0.7), Report(2, math.nan)])
    seen = study.trials[0].intermediate_values
    assert seen[1] == 0.7
    assert math.isnan(seen[2])


def test_a_question_reads_only_what_has_changed(ledger):
    worker = register(ledger)
    for _ in range(3):
        finish(ledger, claimed(ledger, worker))
    claim = claimed(ledger, worker)
    storage = LedgerStorage(ledger.folder)
    study = optuna.load_study(study_name=None, storage=storage)
    before = study.get_trials(deepcopy=False)
    finish(ledger, claim)
    after = study.get_trials(deepcopy=False)
    assert [old is new for old, new in zip(before, after, strict=True)] == [True, True, True, False]
    assert after[3].state is TrialState.COMPLETE


def test_a_question_that_was_broken_off_loses_nothing(ledger):
    worker = register(ledger)
    for _ in range(3):
        finish(ledger, claimed(ledger, worker))
    study = study_of(ledger)
    break_it(ledger.folder, "UPDATE trial SET combination = '{' WHERE number = 1")  # its mark is as it was
    with pytest.raises(LedgerError, match="damaged"):
        study.get_trials()
    break_it(ledger.folder, """UPDATE trial SET combination = '{"x":1}' WHERE number = 1""")
    assert [trial.number for trial in study.trials] == [0, 1, 2]


@pytest.mark.parametrize("outcome", ["failed", "died", "released"])
def test_a_trial_that_runs_again_is_seen_to(ledger, outcome):
    worker = register(ledger)
    ledger.end_if_held(ending_of(claimed(ledger, worker), outcome))
    study = study_of(ledger)
    assert study.trials[0].state in (TrialState.FAIL, TrialState.WAITING)
    claim = claimed(ledger, worker, max_trials=1)
    assert study.trials[0].state is TrialState.RUNNING
    finish(ledger, claim)
    assert study.trials[0].state is TrialState.COMPLETE
    assert study.trials[0].user_attrs["attempts"] == 2


def test_a_space_that_is_added_is_seen(ledger):
    worker = register(ledger)
    finish(ledger, claimed(ledger, worker))
    study = study_of(ledger)
    assert len(study.trials[0].distributions["x"].choices) == 9
    with Ledger.join(ledger.folder, grid(*range(12)), on_change="extend") as wider:
        finish(wider, claimed(wider, register(wider)))
    assert [len(trial.distributions["x"].choices) for trial in study.trials] == [12, 12]


def test_whatever_would_write_is_refused_and_leaves_no_trace(ledger):
    finish(ledger, claimed(ledger, register(ledger)))
    before = (ledger.folder / "ledger.db").read_bytes()
    storage = LedgerStorage(ledger.folder)
    study = optuna.load_study(study_name=None, storage=storage)
    for write in (
        lambda: study.set_user_attr("note", "x"),
        study.ask,
        lambda: study.add_trial(optuna.trial.create_trial(value=1.0)),
        lambda: optuna.create_study(storage=storage, study_name="new"),
        lambda: optuna.delete_study(study_name=study.study_name, storage=storage),
    ):
        with pytest.raises(LedgerError, match="only read"):
            write()
    assert (ledger.folder / "ledger.db").read_bytes() == before


def test_optunas_own_tools_work_on_a_search_of_the_larger_study(tmp_path):
    search = synthetic.search_of(synthetic.seeds_space(), metric="loss", strategy="uniform")
    synthetic.fill(tmp_path, search, 150, reports=2)
    study = optuna.load_study(study_name=None, storage=LedgerStorage(tmp_path))
    assert len(study.trials_dataframe()) == len(study.trials)
    assert study.metric_names == ["loss"]
    importance = optuna.importance.get_param_importances(study)
    assert max(importance, key=importance.get) == "dataset"
    plots = optuna.visualization
    for plot in (
        plots.plot_optimization_history,
        plots.plot_parallel_coordinate,
        plots.plot_slice,
        plots.plot_timeline,
        plots.plot_edf,
        plots.plot_intermediate_values,
    ):
        assert plot(study).data, plot.__name__


def test_without_optuna_one_sentence_says_what_to_install():
    code = (
        "import sys; sys.modules['optuna'] = None\n"
        "from dahps_core.errors import ConfigurationError\n"
        "try: from dahps_core.dashboard import LedgerStorage\n"
        "except ConfigurationError as error: print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'dahps[dashboard]'" in told
