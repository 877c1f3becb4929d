"""How jobs of SLURM end that do not end by themselves, and what the ledger tells of it."""

import pytest

from tests.support import wait_until
from tests.sweeper.conftest import override

pytestmark = pytest.mark.slurm

ON_SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=20"]


@pytest.fixture
def gate(app):
    return app.folder / "gate"


def attempts(app, number):
    """(outcome, error) of all attempts of a trial but the last one."""
    return app.query("SELECT outcome, error FROM attempt WHERE trial = ? ORDER BY attempt", number)


def test_workers_whose_jobs_end_before_any_trial_could_leave_at_once(app, slurm):
    outcome = app.sweep("x=1,2,3", *ON_SLURM, "hydra.sweeper.n_workers=2", "hydra.sweeper.trial_time=3600")
    assert outcome.code == 0, outcome.output
    assert "2 workers ended: 2 out of time" in outcome.output
    assert "3 trials are left" in outcome.output
    assert app.trials() == []


def test_a_job_that_runs_out_of_time_is_requeued_as_often_as_the_launcher_was_told(app, slurm, gate):
    # To submitit every signal counts as the end of the time in a job of ten minutes.
    limits = ["hydra.launcher.timeout_min=9", "hydra.launcher.max_num_timeout=1"]
    sweep = app.start("x=1,2", override("wait_for", gate), *ON_SLURM, *limits, "hydra.sweeper.n_workers=1")
    for attempt in (1, 2):
        wait_until(lambda attempt=attempt: (0, attempt) in app.runs(), 120, f"attempt {attempt}")
        slurm.run("scancel", "--signal=USR2", *slurm.squeue())
    wait_until(lambda: not slurm.squeue(), 120, "the end of the job")
    sweep.kill()
    sweep.wait()
    (log,) = sweep.sweep_dir.glob(".submitit/*/*_log.out")
    assert "timed-out too many times" in log.read_text()
    assert app.runs() == {(0, 1): 1, (0, 2): 1}
    (trial,) = app.trials()
    assert [*attempts(app, 0), (trial["state"], trial["error"])] == [
        ("released", "SIGUSR2: its worker had to end")
    ] * 2


def test_a_job_that_runs_out_of_time_is_requeued_unless_the_launcher_was_told_otherwise(app, slurm, gate):
    limits = ["hydra.launcher.timeout_min=9"]  # submitit's own default would be to give the job up
    sweep = app.start("x=1", override("wait_for", gate), *ON_SLURM, *limits, "hydra.sweeper.n_workers=1")
    wait_until(lambda: (0, 1) in app.runs(), 120, "the first attempt")
    slurm.run("scancel", "--signal=USR2", *slurm.squeue())
    wait_until(lambda: (0, 2) in app.runs(), 240, "the second attempt")
    gate.touch()
    outcome = app.wait(sweep, timeout_s=300)
    assert outcome.code == 0, outcome.output
    assert [trial["state"] for trial in app.trials()] == ["finished"]
    assert attempts(app, 0) == [("released", "SIGUSR2: its worker had to end")]


def test_a_step_that_is_killed_is_told_of_with_the_logs_of_its_job(app, slurm, gate):
    sweep = app.start("x=1,2", override("wait_for", gate), *ON_SLURM, "hydra.sweeper.n_workers=2")
    wait_until(lambda: len(app.runs()) == 2, 120, "two running trials")
    job = app.trials()[0]["worker"].rpartition(" ")[2]
    slurm.run("scancel", "--signal=KILL", f"{job}.0")
    wait_until(lambda: len(slurm.squeue()) == 1, 60, "the end of one job")
    gate.touch()
    outcome = app.wait(sweep, timeout_s=300)
    assert outcome.code == 0, outcome.output
    ((outcome_of_first, error),) = attempts(app, 0)
    assert outcome_of_first == "lost"
    assert f"(job {job}) sent no heartbeat" in error
    assert f"{job}_0_log.err" in error
