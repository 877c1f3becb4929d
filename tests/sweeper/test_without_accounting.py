"""Where `sacct` fails, submitit never learns of a killed job; the search ends rightly all the same.

The failing `sacct` is an injected fault: it stands before SLURM's own on the sweeper's PATH.
"""

import os

import pytest

from tests.support import wait_until
from tests.sweeper.conftest import override

pytestmark = pytest.mark.slurm

ON_SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=20", "hydra.sweeper.n_workers=4"]


@pytest.fixture
def environment(tmp_path):
    """With commands that fail; what was called is in the file `called`."""
    folder = tmp_path / "failing"
    folder.mkdir()

    def failing(*names):
        for name in names:
            command = folder / name
            command.write_text(f"#!/bin/sh\necho {name} >> '{folder}/called'\necho rate limit >&2\nexit 1\n")
            command.chmod(0o755)
        return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}, folder / "called"

    return failing


def test_a_search_with_a_killed_job_ends(app, slurm, environment):
    variables, called = environment("sacct")
    gate = app.folder / "gate"
    sweep = app.start("x=range(12)", override("wait_for", gate), *ON_SLURM, env=variables)
    wait_until(lambda: len(app.runs()) == 4, 120, "four running trials")
    killed = max(slurm.squeue(), key=int)
    slurm.run("scancel", "--signal=KILL", "--full", killed)
    wait_until(lambda: killed not in slurm.squeue(), 60, "the end of the killed job")
    gate.touch()
    outcome = app.wait(sweep)
    assert outcome.code == 0, outcome.output
    assert "sacct" in called.read_text()
    assert {trial["state"] for trial in app.trials()} == {"finished"}
    assert sorted(trial["attempts"] for trial in app.trials()) == [1] * 11 + [2]
    assert set(app.runs().values()) == {1}


def test_a_sweeper_whose_jobs_are_all_killed_learns_it_from_the_queue(app, slurm, environment):
    variables, _ = environment("sacct")
    sweep = app.start("x=range(12)", override("wait_for", app.folder / "gate"), *ON_SLURM, env=variables)
    wait_until(lambda: len(app.runs()) == 4, 120, "four running trials")
    slurm.run("scancel", "--signal=KILL", "--full", *slurm.squeue())
    outcome = app.wait(sweep)
    assert outcome.code == 1
    assert "this multirun's workers are gone, but 12 trials are left" in outcome.output


def test_a_queue_that_does_not_answer_is_not_believed(app, slurm, environment):
    variables, called = environment("sacct", "squeue")
    gate = app.folder / "gate"
    sweep = app.start("x=range(12)", override("wait_for", gate), *ON_SLURM, env=variables)
    wait_until(lambda: len(app.runs()) == 4, 120, "four running trials")
    slurm.run("scontrol", "requeue", min(slurm.squeue(), key=int))
    line = "SLURM reports no state for the jobs yet; waiting for the launcher"
    wait_until(lambda: line in sweep.output.read_text(), 90, "the line")
    gate.touch()
    outcome = app.wait(sweep)
    assert outcome.code == 0, outcome.output
    assert called.read_text().split().count("squeue") == 1
    assert {trial["state"] for trial in app.trials()} == {"finished"}
