"""Config groups as people write them, and search spaces that are made of configs."""

import pytest

from tests.sweeper.test_mistakes import assert_told

SWEPT = ["hydra.sweeper.ledger=dahps/train"]  # a search, without a tree of its own
LOCAL = ["hydra/launcher=submitit_local", "hydra.sweeper.n_workers=2"]


def models(project):
    return [config["model"] for config in project.configs()]


@pytest.mark.parametrize("search", ["anchored", "composed"])
def test_a_subtree_can_stand_in_two_places(project, search):
    """By a YAML anchor; as a config group of its own, which another part of the tree points to."""
    outcome = project.sweep(f"+search@hydra.sweeper.search={search}")
    assert outcome.code == 0, outcome.output
    combinations = {
        (config["training"]["optimizer"]["name"], config["model"].get("heads", config["model"]["name"]))
        for config in project.configs()
    }
    assert combinations == {(name, model) for name in ("adam", "sgd") for model in (2, 4, "resnet")}
    assert len(project.configs()) == 6


@pytest.mark.parametrize("launcher", [[], LOCAL])
def test_which_search_is_chosen_on_the_command_line_is_no_part_of_a_combination(project, launcher):
    project.sweeper = []
    defaults = "  - search@hydra.sweeper.search: ???\n  - _self_\n  - override hydra/sweeper: dahps\n"
    project.edit("conf/config.yaml", "  - _self_\n", defaults)
    outcome = project.sweep(*launcher, "search@hydra.sweeper.search=anchored", "lr=3")
    assert outcome.code == 0, outcome.output
    assert not [key for trial in project.trials() for key in trial["combination"] if "search" in key]
    assert {trial["combination"]["lr"] for trial in project.trials()} == {3}


def test_an_experiment_brings_the_sweeper_and_the_search_with_it(project):
    project.sweeper = []
    outcome = project.sweep("+experiment=search")
    assert outcome.code == 0, outcome.output
    configs = project.configs()
    assert [config["lr"] for config in configs] == [0.5, 0.5]
    assert {config["training"]["optimizer"]["name"] for config in configs} == {"sgd"}
    assert {config["definitions"]["cifar"]["resolution"] for config in configs} == {8, 32}
    assert {config["definitions"]["mnist"]["resolution"] for config in configs} == {32}


def test_experiments_can_be_what_is_searched(project):
    project.write("conf/experiment/fast.yaml", "# @package _global_\nlr: 9\n")
    slow = "# @package _global_\ndefaults: [override /optimizer: sgd]\nlr: 1\n"
    project.write("conf/experiment/slow.yaml", slow)
    outcome = project.sweep(*SWEPT, "+experiment=fast,slow", "model=vit")
    assert outcome.code == 0, outcome.output
    lr = {config["lr"]: config["training"]["optimizer"]["name"] for config in project.configs()}
    assert lr == {9: "adam", 1: "sgd"}


def test_a_group_option_can_be_chosen_at_a_package_and_in_a_chosen_option(project):
    tree = "{key: dataset@definitions.mnist, values: [low_res], default: null}"
    tree = f"{{key: backbone@model.encoder, values: [small, large], default: {tree}}}"
    outcome = project.sweep(f"hydra.sweeper.search={{root: {{key: model, values: [vit], default: {tree}}}}}")
    assert outcome.code == 0, outcome.output
    assert sorted(model["encoder"]["width"] for model in models(project)) == [64, 128]
    assert {config["definitions"]["mnist"]["resolution"] for config in project.configs()} == {8}


def test_a_default_that_is_an_interpolation_follows_what_a_trial_chooses(project):
    project.close_gate()
    project.sweep(*LOCAL, *SWEPT, "model=resnet", "optimizer=adam,sgd", "hydra.sweeper.detach=true")
    project.edit("conf/schedule/sgd_slow.yaml", "10", "99")
    project.gate.touch()
    project.wait_for_trials(2)
    schedules = {c["training"]["optimizer"]["name"]: c.get("schedule") for c in project.configs()}
    assert schedules == {"adam": None, "sgd": {"warmup": 10}}


def test_a_value_that_each_trial_sets_may_be_mandatory(project):
    project.edit("conf/config.yaml", "lr: 0.1", "lr: ???")
    outcome = project.sweep(*SWEPT, "model=vit", "lr=1,2")
    assert outcome.code == 0, outcome.output
    assert "???" not in outcome.output
    assert sorted(config["lr"] for config in project.configs()) == [1, 2]


def test_a_value_that_nothing_sets_is_told_before_the_trials_start(project):
    project.edit("conf/config.yaml", "lr: 0.1", "lr: ???")
    outcome = project.sweep(*SWEPT, "model=vit,resnet", *LOCAL)
    told_at = outcome.output.index("lr: ??? in the first combination")
    assert told_at < outcome.output.index("Submitit")
    assert "Missing mandatory value: lr" in outcome.output


@pytest.mark.parametrize("launcher", [[], LOCAL])
def test_structured_configs(project, launcher):
    project.program[-1] = str(project.folder / "structured.py")
    outcome = project.sweep(*SWEPT, "model=vit,resnet", "lr=1", *launcher)
    assert outcome.code == 0, outcome.output
    assert sorted(models(project), key=str) == [{"name": "resnet", "depth": 18}, {"name": "vit", "heads": 2}]
    changed = project.sweep(*SWEPT, "model=vit,resnet", "lr=1", env={"DEPTH": "50"})
    assert_told(changed, "model/resnet: depth: 18 became 50")


@pytest.mark.parametrize("launcher", [[], LOCAL])
def test_hydra_zen(project, launcher):
    project.program[-1] = str(project.folder / "zen_app.py")
    heads = "{key: model.heads, values: [2, 4], default: null}"
    tree = f"{{root: {{key: model, values: [vit, resnet], vit: {heads}, default: null}}}}"
    outcome = project.sweep(f"hydra.sweeper.search={tree}", *launcher)
    assert outcome.code == 0, outcome.output
    assert sorted(models(project)) == ["resnet of 18", "vit of 2", "vit of 4"]
