"""Training functions in all shapes, sent to jobs of other processes."""

import sys

import hydra
import pytest

from tests.sweeper.test_mistakes import assert_told

LOCAL = ["hydra/launcher=submitit_local", "hydra.sweeper.n_workers=1", "hydra.sweeper.ledger=ledger"]


@pytest.mark.parametrize("shape", ["decorated", "lambda", "partial", "object", "method"])
def test_a_training_function_can_be(project, shape):
    """Each with a resolver of the app's own in its config."""
    project.program = [sys.executable, "shapes.py", shape]
    outcome = project.sweep(*LOCAL, "model=vit", "lr='${twice:3}'")
    assert outcome.code == 0, outcome.output
    assert [config["lr"] for config in project.configs()] == [6]


def test_a_training_function_can_be_in_a_package(project):
    project.program = [sys.executable, "-m", "package.train"]
    outcome = project.sweep(*LOCAL, "model=vit")
    assert outcome.code == 0, outcome.output
    assert len(project.configs()) == 1


def test_what_cannot_travel_to_a_job_is_told_and_loses_nothing(project):
    project.program = [sys.executable, "shapes.py", "locked"]
    outcome = project.sweep(*LOCAL, "model=vit")
    assert_told(outcome, "LOCK, used by locked: cannot be", "cannot pickle '_thread.lock'", "inside them")
    assert not (project.folder / "ledger").exists()
    assert project.sweep("hydra.sweeper.ledger=ledger", "model=vit").code == 0
    assert len(project.configs()) == 1


@pytest.mark.parametrize("launcher", ["submitit_local", "joblib"])
def test_an_object_in_a_config_that_cannot_travel_is_told_by_its_key(project, launcher):
    project.program = [sys.executable, "objects.py"]
    command = ["model=vit", "+thing=closure", "hydra.sweeper.ledger=ledger"]
    outcome = project.sweep(*command, f"hydra/launcher={launcher}")
    assert_told(outcome, "thing.made", "cannot be sent to the workers' jobs", "_target_")
    assert not (project.folder / "ledger").exists()
    assert project.sweep(*command).code == 0  # in this process nothing has to travel
    assert len(project.configs()) == 1


def test_an_object_that_travels_as_an_option_of_a_group_alone_is_told_by_it(project):
    project.program = [sys.executable, "objects.py"]
    outcome = project.sweep(*LOCAL, "model=vit")
    assert_told(outcome, "ConfigStore thing/closure.yaml", "cannot be sent to the workers' jobs")


def test_an_object_that_no_file_can_hold_is_told_by_its_key(project):
    project.program = [sys.executable, "objects.py"]
    outcome = project.sweep("model=vit", "+thing=lock")
    assert_told(outcome, "thing.made: cannot be written down", "cannot pickle '_thread.lock'", "_target_")


@pytest.mark.skipif(hydra.__version__ < "1.4", reason="Hydra 1.3 has no whitelist, any name is instantiated")
@pytest.mark.parametrize("launcher", [["hydra/launcher=basic", "hydra.sweeper.ledger=ledger"], LOCAL])
def test_what_configs_may_name_holds_in_the_jobs_as_well(project, launcher):
    project.program = [sys.executable, "whitelist.py"]
    outcome = project.sweep(*launcher, "model=vit", "+thing._target_=fractions.Fraction,collections.Counter")
    assert outcome.code == 0, outcome.output
    project.ledger = project.folder / "ledger"
    ends = {trial["combination"]["+thing._target_"]: trial["error"] for trial in project.trials()}
    assert ends["fractions.Fraction"] is None
    assert "whitelist" in ends["collections.Counter"]
