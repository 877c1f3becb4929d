"""Configs are edited while jobs wait, and between multiruns: what was meant is run, or the change told."""

import os
import shutil
import signal

import pytest

from tests.support import wait_until
from tests.sweeper.conftest import override
from tests.sweeper.test_mistakes import assert_told

GROUPS = ["hydra.sweeper.search={root: {key: model, values: [vit, resnet], default: null}}"]
LOCAL = ["hydra/launcher=submitit_local"]


def edit_everything(project):
    """As a person does who goes on with the work while jobs wait."""
    project.edit("conf/config.yaml", "lr: 0.1", "lr: 0.9")
    project.edit("conf/optimizer/sgd.yaml", "momentum: 0.9", "momentum: 0.0")
    project.edit("conf/model/vit.yaml", "small", "large")
    project.edit("conf/model/resnet.yaml", "depth: 18", "depth: 50")
    project.write("conf/schedule/sgd_slow.yaml", "warmup: [not, what, it: was")


def assert_as_submitted(configs):
    assert {config["lr"] for config in configs} == {0.1}
    assert {config["schedule"]["warmup"] for config in configs} == {10}
    assert {config["training"]["optimizer"]["momentum"] for config in configs} == {0.9}
    for config in configs:
        model = config["model"]
        assert model.get("depth", 18) == 18
        assert model.get("encoder", {"width": 64}) == {"width": 64}


def test_queued_jobs_run_what_was_submitted(project):
    project.close_gate()
    outcome = project.sweep(*GROUPS, *LOCAL, "optimizer=sgd", "hydra.sweeper.detach=true")
    assert outcome.code == 0, outcome.output
    edit_everything(project)
    project.gate.touch()
    project.wait_for_trials(2)
    assert {config["model"]["name"] for config in project.configs()} == {"vit", "resnet"}
    assert_as_submitted(project.configs())


def test_queued_jobs_run_when_the_configs_are_gone(project):
    project.close_gate()
    project.sweep(*GROUPS, *LOCAL, "optimizer=sgd", "hydra.sweeper.detach=true")
    shutil.rmtree(project.folder / "conf")
    project.gate.touch()
    project.wait_for_trials(2)
    assert_as_submitted(project.configs())


def test_a_trial_whose_worker_was_killed_is_run_again_as_it_was_submitted(project):
    hold = project.folder / "hold"
    workers = "hydra.sweeper.n_workers=2"
    sweep = project.start(*GROUPS, *LOCAL, "optimizer=sgd", override("wait_for", hold), workers)
    wait_until(lambda: len(project.records()) == 2, 60, "both workers")
    edit_everything(project)
    os.kill(project.records()[0]["worker"], signal.SIGKILL)
    hold.touch()
    assert project.wait(sweep).code == 0
    assert len(project.configs()) == 3
    assert_as_submitted(project.configs())


@pytest.mark.slurm
def test_a_job_of_slurm_that_was_held_and_requeued_runs_what_was_submitted(slurm, project):
    hold = project.folder / "hold"
    outcome = project.sweep(
        *GROUPS,
        "hydra/launcher=submitit_slurm",
        "+hydra.launcher.additional_parameters={hold: true}",
        "hydra.launcher.timeout_min=5",
        "optimizer=sgd",
        override("wait_for", hold),
        "hydra.sweeper.detach=true",
        "hydra.sweeper.n_workers=1",
    )
    assert outcome.code == 0, outcome.output
    edit_everything(project)
    (job,) = slurm.squeue()
    slurm.run("scontrol", "release", job)
    wait_until(project.records, 60, "the first trial")
    slurm.run("scontrol", "requeue", job)
    wait_until(lambda: "PENDING" in slurm.run("squeue", "--noheader", "--format=%T"), 60, "the queue")
    slurm.run("scontrol", "update", f"JobId={job}", "StartTime=now")  # SLURM would hold it back for minutes
    hold.touch()
    project.wait_for_trials(2)
    assert len(project.configs()) == 3
    assert_as_submitted(project.configs())


def one_more(project, *overrides):
    limit = f"hydra.sweeper.max_trials={len(project.configs()) + 1}"
    return project.sweep(*GROUPS, limit, *overrides)


def test_what_does_not_change_a_trial_may_be_edited(project):
    assert one_more(project, "optimizer=sgd").code == 0
    project.write("conf/config.yaml", "# a comment\n" + (project.folder / "conf/config.yaml").read_text())
    project.edit("conf/config.yaml", "seed:", "hydra: {job: {name: train}}\nseed:")  # how trials are run
    project.edit("conf/config.yaml", "optimizer: adam", "optimizer: lion")  # the command line has another
    project.write("conf/optimizer/adam.yaml", "name: another")
    project.write("conf/model/mlp.yaml", "name: mlp")
    project.write("conf/model/resnet.yaml", "depth: 18\nname: resnet\n")  # another order
    outcome = one_more(project, "optimizer=sgd")
    assert outcome.code == 0, outcome.output
    assert len(project.configs()) == 2


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("config.yaml", "lr: 0.1", "lr: 0.2", "config: lr: 0.1 became 0.2"),
        ("config.yaml", "mnist: full", "mnist: low_res", 'mnist: "full" became "low_res"'),
        ("model/resnet.yaml", "depth: 18", "depth: 50", "model/resnet: depth: 18 became 50"),
        ("model/resnet.yaml", "depth: 18", "blocks: {n: 3}", "model/resnet: blocks.n: added, 3"),
        ("model/vit.yaml", "small", "large", "encoder: large"),
        ("backbone/small.yaml", "64", "32", "backbone/small: width: 64 became 32"),
        ("optimizer/adam.yaml", "0.999", "0.99", "optimizer/adam: betas: [0.9, 0.999] became [0.9, 0.99]"),
        ("optimizer/adam.yaml", "@package training", "@package test", "optimizer/adam: @package"),
    ],
)
def test_edited_configs_are_told_to_the_next_multirun(project, name, old, new, told):
    assert one_more(project).code == 0
    project.edit(f"conf/{name}", old, new)
    assert_told(one_more(project), told, str(project.ledger), "hydra.sweeper.on_change=extend")
    assert len(project.configs()) == 1


def test_a_search_can_go_on_with_edited_configs_and_says_so(project):
    one_more(project, "hydra.sweeper.max_trials=1")
    project.edit("conf/config.yaml", "lr: 0.1", "lr: 0.2")
    extended = one_more(project, "hydra.sweeper.on_change=extend", "hydra.sweeper.max_trials=2")
    assert extended.code == 0, extended.output
    assert "config: lr: 0.1 became 0.2" in extended.output
    assert [config["lr"] for config in project.configs()] == [0.1, 0.2]
    again = one_more(project)
    assert again.code == 0
    assert "became" not in again.output
    project.edit("conf/config.yaml", "lr: 0.2", "lr: 0.1")
    assert_told(one_more(project), "config: lr: 0.2 became 0.1")


def test_an_option_that_a_group_has_not_is_told_before_anything_is_launched(project):
    tree = (
        "{root: {key: model, values: [resnet, vti], default: {key: optimizer, values: [adm], default: null}}}"
    )
    outcome = project.sweep(f"hydra.sweeper.search={tree}")
    assert_told(outcome, "2 faults", "model has no", "vti", "it has resnet, vit", "adm", "it has adam, sgd")
    assert not project.ledger.exists()


def test_an_option_that_cannot_be_read_is_told_before_anything_is_launched(project):
    project.write("conf/model/resnet.yaml", "depth: [18\n")
    assert_told(project.sweep(*GROUPS), "model/resnet: this config cannot be read", "line 2")
    assert not project.ledger.exists()


def test_an_option_that_was_added_since_belongs_to_the_next_multirun(project):
    assert one_more(project).code == 0
    project.write("conf/model/mlp.yaml", "name: mlp\n")
    wider = "hydra.sweeper.search={root: {key: model, values: [vit, resnet, mlp], default: null}}"
    assert project.sweep(wider, "hydra.sweeper.on_change=extend").code == 0
    assert {config["model"]["name"] for config in project.configs()} == {"vit", "resnet", "mlp"}
