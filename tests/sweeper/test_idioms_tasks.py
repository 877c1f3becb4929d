"""Training functions in all shapes, sent to jobs of other processes."""

import sys

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
    assert_told(outcome, "no worker could start", "cannot pickle '_thread.lock'", "inside of it")
    assert project.sweep("hydra.sweeper.ledger=ledger", "model=vit").code == 0
    assert len(project.configs()) == 1
