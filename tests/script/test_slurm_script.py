"""Scripts whose ranks are the tasks of a step, on two nodes of a real SLURM."""

import json
import os
import subprocess
import sys

import pytest

from dahps_core.model.records import TrialState
from tests.script.conftest import ENVIRONMENT, RANK_SCRIPT, free_port

pytestmark = pytest.mark.slurm


@pytest.fixture
def start(torchrun, slurm):
    """Starts a step of two tasks on two nodes."""
    steps = []

    def start(*behaviours):
        options = {"behaviours": behaviours, "port": free_port()}
        output = torchrun.folder / f"output{len(steps)}.txt"
        with output.open("w") as file:
            step = subprocess.Popen(
                [
                    "srun",
                    "--nodes=2",
                    "--ntasks=2",
                    sys.executable,
                    RANK_SCRIPT,
                    torchrun.folder,
                    json.dumps(options),
                ],
                env={**os.environ, **ENVIRONMENT},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        step.output = output
        steps.append(step)
        return step

    yield start
    for step in steps:
        step.terminate()
        step.wait(60)


def test_the_tasks_of_a_step_are_the_ranks_of_a_trial(torchrun, start):
    step = start("a", "b")
    assert step.wait(180) == 0, step.output.read_text()
    assert {(trial.state, trial.metric) for trial in torchrun.trials().values()} == {
        (TrialState.FINISHED, 3.0)
    }
    starts = sorted((note["number"], note["rank"]) for note in torchrun.notes("starts"))
    assert starts == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len({note["node"] for note in torchrun.notes("starts")}) == 2


def test_a_task_that_is_killed_is_told_from_a_preemption(torchrun, start):
    step = start("be_killed@1")
    assert step.wait(180) != 0
    (trial,) = torchrun.trials().values()
    assert trial.state is TrialState.LOST, step.output.read_text()
    assert "rank 1" in trial.error


def test_a_job_that_is_cancelled_gives_its_trial_back_and_the_next_one_resumes_it(torchrun, start, slurm):
    step = start("wait")
    torchrun.await_notes("waits", 2)
    slurm.run("scancel", "--signal=TERM", *slurm.squeue())
    step.wait(180)
    trial = torchrun.trials()["wait"]
    assert trial.state is TrialState.RELEASED, step.output.read_text()
    assert len(torchrun.notes("leaves")) == 2
    (torchrun.folder / "go on").touch()
    step = start("wait")
    assert step.wait(180) == 0, step.output.read_text()
    trial = torchrun.trials()["wait"]
    assert (trial.state, trial.attempts) == (TrialState.FINISHED, 2)
