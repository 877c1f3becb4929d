"""A user's mistake gets one error that says how to fix it, no traceback, and loses nothing."""

import pytest


def assert_told(outcome, *words):
    assert outcome.code == 1
    assert "Traceback" not in outcome.output
    for word in words:
        assert word in outcome.output, outcome.output


BAD_TREE = {"root": {"key": "y", "value": ["a", "b"], "default": {"key": "x", "values": [], "default": None}}}


def test_every_fault_of_a_tree_is_told_at_once(app):
    outcome = app.sweep(app.tree(BAD_TREE))
    assert_told(outcome, "2 faults", "root.value", "`values`", "root(y).default.values")
    assert not app.ledger.exists()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["hydra.sweeper.search=nowhere:config"], ["nowhere", "hydra.sweeper.search"]),
        (["hydra.sweeper.search=nowhere"], ["module:attribute"]),
        (["hydra.sweeper.search=math:tau"], ["6.28", "mapping"]),
        (["hydra.sweeper.strategy.name=gird"], ["gird", "Did you mean 'grid'?\n"]),
        (["hydra.sweeper.direction=maximise"], ["maximise", "maximize"]),
        (["hydra.sweeper.on_change=expand"], ["expand", "extend"]),
        (["hydra.sweeper.n_workers=0"], ["n_workers", "at least 1"]),
        (["hydra.sweeper.max_attempts=0"], ["max_attempts", "at least 1"]),
        (["hydra.sweeper.max_trials=-1"], ["max_trials", "at least 1"]),
        (["hydra.sweeper.lease=0.5"], ["lease", "heartbeat"]),
        (["hydra.sweeper.trial_timeout=60"], ["trial_timeout", "isolation=process"]),
        (
            [
                "hydra/launcher=submitit_local",
                "hydra.sweeper.trial_timeout=9",
                "hydra.sweeper.isolation=none",
            ],
            ["trial_timeout", "isolation=process"],
        ),
        (["hydra.sweeper.isolation=thread"], ["thread", "process", "none"]),
        (["hydra.sweeper.trial_time=-1"], ["trial_time is -1", "seconds"]),
        (["hydra.sweeper.grace=-1"], ["grace", "seconds"]),
        (["hydra.sweeper.detach=true"], ["detach", "submitit_slurm, submitit_local or rq"]),
        (["hydra/launcher=joblib", "hydra.sweeper.detach=true"], ["detach", "submitit_slurm"]),
        (["x=1,2", "hydra.sweeper.only=1"], ["hydra.sweeper.only", "{key: value}"]),
        (["x=1,2", "hydra.sweeper.only={z: 1}"], ["only", 'no key "z"']),
        (["x=1,2", "hydra.sweeper.only={x: [1, 3]}"], ["only", "x=3"]),
        (["hydra.sweeper.patience=-1"], ["patience", "seconds"]),
        (["hydra.sweeper.locking=flock"], ["flock", "folder"]),
        (["no_such_key=1,2"], ["no_such_key"]),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(app, overrides, words):
    assert_told(app.sweep(*overrides), *words)
    assert not app.runs()
    assert not app.ledger.exists(), "the corrected command would be another search"


TREE = {"root": {"key": "y", "values": [0, 1], "default": {"key": "x", "values": [1], "default": None}}}


@pytest.mark.parametrize("argument", ["x=3", "++x=3", "x=3,4", "++x=1,2"])
def test_a_key_of_the_tree_on_the_command_line_is_refused_at_its_place_in_the_tree(app, argument):
    outcome = app.sweep(app.tree(TREE), argument)
    assert_told(outcome, "1 fault:", "root(y).0:", argument.partition("=")[0], "command line", "only")
    assert not app.ledger.exists()


def test_a_sweep_over_a_common_value_is_refused_and_another_value_in_its_place_is_not(app):
    search = app.tree({"root": None, "common": {"x": 1}})
    assert_told(app.sweep(search, "x=1,2"), "common.x", "command line")
    outcome = app.sweep(search, "x=3")
    assert outcome.code == 0, outcome.output
    assert [trial["combination"]["x"] for trial in app.trials()] == [3]


@pytest.mark.parametrize("arguments", [[], ["x=3"], ["x=3,4"]])
def test_a_node_in_place_of_its_envelope_is_one_fault(app, arguments):
    assert_told(app.sweep(app.tree(TREE["root"]), *arguments), "1 fault:", "under `root`")


def test_a_changed_tree_is_refused_with_the_differences_unless_it_is_to_extend(app):
    app.sweep("x=1,2")
    refused = app.sweep("x=1,2,3")
    assert_told(refused, "x", "3", "hydra.sweeper.on_change=extend")
    assert len(app.trials()) == 2
    extended = app.sweep("x=1,2,3", "hydra.sweeper.on_change=extend")
    assert extended.code == 0, extended.output
    assert sorted(trial["combination"]["x"] for trial in app.trials()) == [1, 2, 3]
    assert set(app.runs().values()) == {1}


def test_a_changed_direction_is_refused(app):
    app.sweep("x=1,2")
    assert_told(app.sweep("x=1,2", "hydra.sweeper.direction=maximize"), "direction", "minimize", "maximize")


def test_a_file_where_the_ledger_should_be_is_told(app):
    app.ledger.parent.mkdir()
    app.ledger.write_text("not a folder")
    assert_told(app.sweep("x=1"), str(app.ledger), "is a file", "folder")
    assert app.ledger.read_text() == "not a folder"


def test_a_folder_of_the_sweep_that_cannot_be_written_is_told_before_a_ledger_is_made(app):
    (app.folder / "file").touch()
    assert_told(app.sweep("x=1", "hydra.sweep.dir=file/sweep"), "file/sweep", "hydra.sweep.dir=FOLDER")
    assert not app.ledger.exists()


def test_results_that_cannot_be_written_are_told_after_the_best_trial(app):
    results = app.folder / "sweep" / "optimization_results.yaml"
    results.mkdir(parents=True)
    outcome = app.sweep("x=1", "hydra.sweep.dir=sweep")
    assert_told(outcome, "Best trial #0", "optimization_results.yaml", "rerun the same command")
    results.rmdir()
    app.sweep("x=1", "hydra.sweep.dir=sweep")
    assert results.is_file()
