"""Hydra's own flags and settings, in an app whose config names the sweeper."""

import subprocess

import hydra
import pytest

from dahps_core.space.overrides import to_overrides
from tests.sweeper.test_mistakes import assert_told

IS_1_3 = hydra.__version__.startswith("1.3")
LEDGER = "hydra.sweeper.ledger=dahps/train"  # a search, without a tree of its own
NAMED = "hydra.sweep.subdir='${hydra.job.num}_${hydra.job.override_dirname}'"
EXCLUDED = "hydra.job.config.override_dirname.exclude_keys=[record]"


def test_trials_can_work_in_their_folders(project):
    outcome = project.sweep(LEDGER, "hydra.job.chdir=true", "model=vit,resnet")
    assert outcome.code == 0, outcome.output
    folders = {str(outcome.folder / str(number)) for number in (0, 1)}
    assert {record["cwd"] for record in project.records()} == folders


def test_folders_can_be_named_after_overrides(project):
    local = "hydra/launcher=submitit_local"
    outcome = project.sweep(LEDGER, NAMED, EXCLUDED, "model=vit", "optimizer=adam,sgd", local)
    assert outcome.code == 0, outcome.output
    folders = list(outcome.folder.glob("[0-9]*"))
    names = {folder.name.partition("_")[2] for folder in folders}
    assert names == {"model=vit,optimizer=adam", "model=vit,optimizer=sgd"}
    assert {trial["output_dir"] for trial in project.trials()} == set(map(str, folders))


def test_a_folder_name_that_is_too_long_is_told_before_anything_is_launched(project):
    long = f"+note={'x' * 300}"
    told = project.sweep(LEDGER, NAMED, EXCLUDED, "model=vit,resnet", long)
    assert_told(told, "hydra.sweep.subdir", "255", "exclude_keys")
    assert not project.ledger.exists()
    fixed = project.sweep(LEDGER, NAMED, EXCLUDED.replace("record", "record,note"), "model=vit,resnet", long)
    assert fixed.code == 0, fixed.output


def test_the_config_can_ask_for_a_multirun(project):
    project.edit("conf/config.yaml", "lr: 0.1", "lr: 0.1\nhydra: {mode: MULTIRUN}")
    project.flags = []
    outcome = project.sweep(LEDGER, "model=vit,resnet")
    assert outcome.code == 0, outcome.output
    assert len(project.configs()) == 2


@pytest.mark.parametrize("launcher", [[], ["hydra/launcher=submitit_local"]])
def test_configs_can_come_from_several_folders(project, launcher):
    """Of --config-dir, and of hydra.searchpath; both belong to what was submitted."""
    project.write("more/model/mlp.yaml", "name: mlp\n")
    project.write("most/backbone/huge.yaml", "width: 999\n")
    (searchpath,) = to_overrides({"hydra.searchpath": [f"file://{project.folder / 'most'}"]})
    project.flags = ["-m", "--config-dir", "more"]
    outcome = project.sweep(LEDGER, searchpath, "model=vit,mlp", "+backbone@extra=huge", *launcher)
    assert outcome.code == 0, outcome.output
    assert {config["model"]["name"] for config in project.configs()} == {"vit", "mlp"}
    assert {config["extra"]["width"] for config in project.configs()} == {999}


def test_another_primary_config_can_be_given(project):
    other = "defaults: [model: resnet, _self_]\nrecord: ???\nlr: 7\n"
    project.write("other/conf/model/resnet.yaml", "name: another\n")
    project.write("other/conf/other.yaml", other)
    project.flags = ["-m", "--config-path", str(project.folder / "other/conf"), "--config-name", "other"]
    outcome = project.sweep(LEDGER, "lr=7,8")
    assert outcome.code == 0, outcome.output
    assert [config["model"]["name"] for config in project.configs()] == ["another"] * 2


INFO = [
    ["--cfg", "hydra"],
    ["--cfg", "job", "--resolve"],
    ["--cfg", "all"],
    ["--info", "plugins"],
    ["--info", "searchpath"],
    ["--info", "defaults"],
    ["--info", "defaults-tree"],
    ["--info", "config"],
    ["--help"],
]


def test_hydra_shows_what_it_has_without_running_anything(project):
    for flags in INFO:
        project.flags = flags
        outcome = project.sweep("model=vit")
        assert outcome.code == 0, outcome.output
    assert subprocess.run([*project.program, "--hydra-help"], cwd=project.folder).returncode == 0
    assert not project.configs()
    assert not project.ledger.exists()
    project.flags = ["--cfg", "hydra", "--package", "hydra.sweeper"]
    assert "n_workers: 4" in project.sweep("model=vit").output


def test_a_trial_can_be_run_again_by_its_folder(project):
    """Hydra 1.3 needs the pickle that a callback leaves there, 1.4 the folder alone."""
    callback = "+hydra.callbacks.keep._target_=hydra.experimental.callbacks.PickleJobInfoCallback"
    outcome = project.sweep(LEDGER, "model=vit", "lr=1,2", *([callback] if IS_1_3 else []))
    assert outcome.code == 0, outcome.output
    first = project.configs()[0]
    folder = outcome.folder / "0"
    place = folder / ".hydra" / "config.pickle" if IS_1_3 else folder
    subprocess.run([*project.program, "--experimental-rerun", place], cwd=project.folder, check=True)
    assert project.configs()[2] == first
