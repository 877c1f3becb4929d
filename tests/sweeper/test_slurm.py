"""Many workers on a real SLURM, by the unmodified submitit launcher."""

import signal

import pytest

from tests.support import wait_until
from tests.sweeper.conftest import override

pytestmark = pytest.mark.slurm

ON_SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=20"]


def assert_each_ran_once(app, n_trials):
    assert app.runs() == {(number, 1): 1 for number in range(n_trials)}
    trials = app.trials()
    assert len(trials) == n_trials
    assert {trial["state"] for trial in trials} == {"finished"}
    assert len({str(trial["combination"]) for trial in trials}) == n_trials


def test_two_multiruns_at_once_run_each_trial_once(app, slurm):
    command = ["x=range(20)", "y=a,b,c,d,e,f,g,h,i,j", *ON_SLURM, "hydra.sweeper.n_workers=8"]
    sweeps = [app.start(*command) for _ in range(2)]
    outcomes = [app.wait(sweep, timeout_s=300) for sweep in sweeps]
    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes[0].output + outcomes[1].output
    assert_each_ran_once(app, 200)
    assert {outcome.results["best_value"] for outcome in outcomes} == {0}
    assert len({trial["worker"] for trial in app.trials()}) > 2
    wait_until(lambda: not slurm.squeue(), 60, "the end of all jobs")


def test_multiruns_may_join_and_sweepers_may_die(app, slurm):
    gate = app.folder / "gate"
    command = [
        "x=range(20)",
        "y=a,b,c,d,e,f,g,h,i,j",
        override("wait_for", gate),
        *ON_SLURM,
        "hydra.sweeper.n_workers=8",
    ]
    first, second = (app.start(*command) for _ in range(2))
    wait_until(lambda: len(app.runs()) >= 8, 120, "trials of two multiruns")
    first.send_signal(signal.SIGKILL)
    first.wait()
    third = app.start(*command)
    gate.touch()
    outcomes = [app.wait(sweep, timeout_s=300) for sweep in (second, third)]
    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes[0].output + outcomes[1].output
    wait_until(lambda: not slurm.squeue(), 60, "the end of all jobs")
    assert_each_ran_once(app, 200)


def test_a_trial_of_a_killed_worker_is_run_again_and_nothing_else_is(app, slurm):
    gate = app.folder / "gate"
    sweep = app.start("x=range(12)", override("wait_for", gate), *ON_SLURM, "hydra.sweeper.n_workers=4")
    wait_until(lambda: len(app.runs()) == 4, 120, "four running trials")
    number = app.signal_a_worker(signal.SIGKILL)
    gate.touch()
    outcome = app.wait(sweep, timeout_s=300)
    assert outcome.code == 0, outcome.output
    assert app.runs() == {**{(n, 1): 1 for n in range(12)}, (number, 2): 1}
    assert {trial["state"] for trial in app.trials()} == {"finished"}
    wait_until(lambda: not slurm.squeue(), 60, "the end of all jobs")
