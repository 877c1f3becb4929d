"""Jobs of several tasks: the ranks of one trial, under the launchers that start them."""

import os
import signal

import pytest

from tests.support import wait_until
from tests.sweeper.conftest import APPS, override

LOCAL = ["hydra/launcher=submitit_local", "hydra.launcher.tasks_per_node=2"]
TWO_BY_TWO = [
    "hydra/launcher=submitit_slurm",
    "hydra.launcher.timeout_min=20",
    "hydra.launcher.nodes=2",
    "hydra.launcher.tasks_per_node=2",
]


@pytest.fixture
def ranked(app):
    """The app whose ranks meet, searched in place of the recorder."""
    app.script = APPS / "ranks.py"
    app.ledger = app.folder / "dahps" / "ranks"
    return app


def command(app, *overrides):
    return "x=1,2,3", override("folder", app.folder), "hydra.sweeper.n_workers=1", *overrides


def sums(app):
    return {trial["combination"]["x"]: trial["metric"] for trial in app.trials()}


def test_the_tasks_of_a_job_are_the_ranks_of_a_trial(ranked):
    outcome = ranked.sweep(*command(ranked, *LOCAL))
    assert outcome.code == 0, outcome.output
    assert sums(ranked) == {1: 11, 2: 22, 3: 33}
    for trial in ranked.trials():
        files = {file.name for file in (outcome.folder / str(trial["number"])).iterdir()}
        assert files == {".hydra", "ranks.log", "ranks.rank1.log"}
        writers = [(ranked.folder / f"{trial['number']}.1.{rank}").read_text().split()[1] for rank in (0, 1)]
        assert writers == [".hydra", "None"], "rank 0 alone writes what describes the job"


def test_a_rank_that_raises_fails_the_trial(ranked):
    options = ["behaviour=fail", "hydra.sweeper.max_attempts=1", "hydra.sweeper.stop_after_failures=null"]
    outcome = ranked.sweep(*command(ranked, *options, *LOCAL))
    assert outcome.code != 0
    assert {trial["state"] for trial in ranked.trials()} == {"failed"}
    assert all(f"ValueError: x is {trial['combination']['x']}" in trial["error"] for trial in ranked.trials())


RANK_1 = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
@pytest.mark.parametrize(
    "environ",
    [
        {
            "SLURM_JOB_ID": "1",
            "SLURM_STEP_ID": "0",
            "SLURM_PROCID": "1",
            "SLURM_LOCALID": "1",
            "SLURM_NODEID": "0",
            "SLURM_STEP_NUM_TASKS": "2",
            "SLURM_STEP_TASKS_PER_NODE": "2",
        },
        {"TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500", **RANK_1},
        {"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"},
        {"RANK": "1", "WORLD_SIZE": "2"},
    ],
    ids=["srun", "torchrun", "mpirun", "no meeting point"],
)
def test_sweepers_that_were_started_together_are_no_ranks(app, environ, launcher):
    outcome = app.sweep("x=1,2", f"hydra/launcher={launcher}", env=environ)
    assert outcome.code == 0, outcome.output
    assert app.runs() == {(0, 1): 1, (1, 1): 1}


@pytest.mark.slurm
def test_four_tasks_on_two_nodes_meet_and_survive_the_loss_of_one(ranked, slurm):
    sweep = ranked.start(*command(ranked, "behaviour=hang once", "hydra.sweeper.n_workers=2", *TWO_BY_TWO))
    started = [ranked.folder / f"0.1.{rank}" for rank in range(4)]
    wait_until(lambda: all(path.exists() and path.read_text() for path in started), 120, "four ranks")
    os.kill(int(started[3].read_text().split()[0]), signal.SIGKILL)
    outcome = ranked.wait(sweep, timeout_s=400)
    assert outcome.code == 0, outcome.output
    assert sums(ranked) == {1: 1111, 2: 2222, 3: 3333}
    wait_until(lambda: not slurm.squeue(), 60, "the end of all jobs")


@pytest.mark.slurm
def test_a_preempted_job_gives_its_trial_back_and_its_ranks_meet_again(ranked, slurm):
    options = ["behaviour=hang once", "hydra.sweeper.grace=1", *TWO_BY_TWO]
    sweep = ranked.start(*command(ranked, *options))
    started = [ranked.folder / f"0.1.{rank}" for rank in range(4)]
    wait_until(lambda: all(path.exists() and path.read_text() for path in started), 120, "four ranks")
    slurm.run("scancel", "--signal=USR2", *slurm.squeue())
    outcome = ranked.wait(sweep, timeout_s=400)
    assert outcome.code == 0, outcome.output
    assert sums(ranked) == {1: 1111, 2: 2222, 3: 3333}
    assert all((ranked.folder / f"0.2.{rank}").exists() for rank in range(4)), (
        "another attempt by all of them"
    )
    (trial,) = (trial for trial in ranked.trials() if trial["number"] == 0)
    assert trial["attempts"] == 2
    wait_until(lambda: not slurm.squeue(), 60, "the end of all jobs")
