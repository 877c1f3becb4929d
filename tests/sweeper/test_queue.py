"""Jobs that are queued again, and jobs that are gone: the sweeper waits for the ones, not for the others."""

import pytest

from tests.support import wait_until
from tests.sweeper.conftest import override

pytestmark = pytest.mark.slurm

ON_SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=20", "hydra.sweeper.n_workers=4"]


@pytest.fixture
def gate(app):
    return app.folder / "gate"


@pytest.fixture
def sweep(app, slurm, gate):
    """A sweeper with four workers, each with a trial that waits at the gate."""
    sweep = app.start("x=range(12)", override("wait_for", gate), *ON_SLURM)
    wait_until(lambda: len(app.runs()) == 4, 120, "four running trials")
    yield sweep
    gate.touch()
    if sweep.poll() is None:
        sweep.kill()
        sweep.wait()


def attempts(app):
    """(trial, attempt) -> how it ended, of all attempts but the last ones."""
    return {row[:2]: row[2] for row in app.query("SELECT trial, attempt, outcome FROM attempt")}


def assert_found_well(app, outcome):
    assert outcome.code == 0, outcome.output
    assert {trial["state"] for trial in app.trials()} == {"finished"}
    last = {(trial["number"], trial["attempts"]): 1 for trial in app.trials()}
    assert app.runs() == {**dict.fromkeys(attempts(app), 1), **last}
    assert set(attempts(app).values()) == {"released"}


def test_the_sweeper_waits_for_jobs_that_are_all_requeued(app, slurm, sweep, gate):
    array = min(slurm.squeue(), key=int)  # its first task's id
    slurm.run("scontrol", "requeuehold", array)
    wait_until(lambda: app.status()["trials"]["running"] == 0, 60, "the release of all trials")
    # Some may still be completing when the sweeper asks first; it asks again after a minute.
    told = "No worker is alive, 12 trials are left; jobs: 4 pending (job requeued in held state)"
    wait_until(lambda: told in sweep.output.read_text(), 120, "the line")
    slurm.run("scontrol", "release", array)
    gate.touch()
    outcome = app.wait(sweep)
    assert_found_well(app, outcome)
    assert {number for number, _ in attempts(app)} == {0, 1, 2, 3}


def test_the_sweeper_waits_for_jobs_that_are_preempted(app, slurm, sweep, gate):
    hold = ["--parsable", "--nodes=4", "--exclusive", "--output=/dev/null", "--wrap=sleep 600"]
    urgent = slurm.run("sbatch", "--partition=urgent", *hold).strip()
    wait_until(lambda: slurm.states(urgent) == ["RUNNING"], 60, "the urgent job's start")
    wait_until(lambda: "No worker is alive, 12 trials are left" in sweep.output.read_text(), 90, "the line")
    assert sweep.poll() is None
    slurm.run("scancel", urgent)
    gate.touch()
    assert_found_well(app, app.wait(sweep))


def test_a_sweeper_whose_jobs_are_all_cancelled_says_what_is_left(app, slurm, sweep):
    slurm.run("scancel", *slurm.squeue())
    outcome = app.wait(sweep)
    assert outcome.code == 1
    assert "Traceback" not in outcome.output
    assert "this multirun's workers are gone, but 12 trials are left" in outcome.output
    ends = {trial["number"]: (trial["state"], trial["error"]) for trial in app.trials()}
    released = "SIGTERM: its worker had to end"
    assert ends == dict.fromkeys(range(4), ("released", released)), outcome.output
