"""Late-binding workers under the launchers that run on one machine, unmodified."""

import os
import signal
from pathlib import Path

import pytest

from tests.support import wait_until
from tests.sweeper.conftest import override

LAUNCHERS = {
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=3"],
    "submitit_local": ["hydra/launcher=submitit_local"],
}


@pytest.fixture(params=LAUNCHERS)
def launcher(request):
    return LAUNCHERS[request.param]


def test_workers_share_the_trials_and_run_each_once(app, launcher):
    outcome = app.sweep("x=range(12)", *launcher, "hydra.sweeper.n_workers=3")
    assert outcome.code == 0, outcome.output
    assert app.runs() == {(number, 1): 1 for number in range(12)}
    assert {trial["state"] for trial in app.trials()} == {"finished"}
    assert outcome.results["best_value"] == 0
    for number in range(12):
        assert f"#{number} finished" in outcome.output
        assert (outcome.folder / str(number) / ".hydra" / "overrides.yaml").exists()


def test_where_locks_do_not_hold_a_folder_does(app):
    outcome = app.sweep(
        "x=range(12)",
        *LAUNCHERS["submitit_local"],
        "hydra.sweeper.n_workers=3",
        "hydra.sweeper.locking=folder",
    )
    assert outcome.code == 0, outcome.output
    assert app.runs() == {(number, 1): 1 for number in range(12)}
    assert app.status()["trials"]["finished"] == 12
    other = app.sweep("x=range(12)")
    assert other.code == 1
    assert "Use locking=folder (hydra.sweeper.locking)" in other.output


def test_a_trial_that_hangs_is_killed_after_its_time_limit(app):
    outcome = app.sweep(
        "x=1,2",
        "behaviour=normal,hang",
        *LAUNCHERS["submitit_local"],
        "hydra.sweeper.n_workers=2",
        "hydra.sweeper.max_attempts=1",
        "hydra.sweeper.trial_timeout=3",
    )
    assert outcome.code == 0, outcome.output
    errors = {trial["error"] for trial in app.trials() if trial["state"] == "failed"}
    assert errors == {"the trial ran for longer than its time limit of 3 s, and was killed"}
    counts = app.status()["trials"]
    assert {state: count for state, count in counts.items() if count} == {"finished": 2, "failed": 2}


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [("segfault", "SIGSEGV"), ("_exit", "exit code 4"), ("exit", "SystemExit: 3"), ("raise", "ValueError")],
)
def test_a_trial_that_breaks_its_process_fails_alone(app, behaviour, words):
    outcome = app.sweep(
        "x=1,2",
        f"behaviour=normal,{behaviour}",
        *LAUNCHERS["submitit_local"],
        "hydra.sweeper.n_workers=2",
        "hydra.sweeper.max_attempts=1",
    )
    assert outcome.code == 0, outcome.output
    trials = {trial["combination"]["behaviour"]: trial for trial in app.trials()}
    assert trials["normal"]["state"] == "finished"
    assert trials[behaviour]["state"] == "failed"
    assert words in trials[behaviour]["error"]


def test_a_trial_of_a_killed_worker_is_run_again_after_its_lease(app):
    gate = app.folder / "gate"
    sweep = app.start(
        "x=range(6)", override("wait_for", gate), *LAUNCHERS["submitit_local"], "hydra.sweeper.n_workers=2"
    )
    wait_until(lambda: len(app.runs()) == 2, 60, "two running trials")
    app.signal_a_worker(signal.SIGKILL)
    gate.touch()
    outcome = app.wait(sweep)
    assert outcome.code == 0, outcome.output
    assert {trial["state"] for trial in app.trials()} == {"finished"}
    runs = app.runs()
    assert set(runs.values()) == {1}
    assert sorted(attempt for _, attempt in runs) == [1] * 6 + [2]


def test_the_search_outlives_its_sweeper_and_the_same_command_picks_it_up(app):
    gate = app.folder / "gate"
    command = [
        "x=range(6)",
        override("wait_for", gate),
        *LAUNCHERS["submitit_local"],
        "hydra.sweeper.n_workers=2",
    ]
    sweep = app.start(*command)
    wait_until(lambda: len(app.runs()) == 2, 60, "two running trials")
    sweep.kill()
    sweep.wait()
    second = app.start(*command)
    gate.touch()
    outcome = app.wait(second)
    assert outcome.code == 0, outcome.output
    wait_until(lambda: {t["state"] for t in app.trials()} == {"finished"}, 60, "the end of the search")
    assert app.runs() == {(number, 1): 1 for number in range(6)}


def test_a_killed_worker_takes_the_others_of_its_pool_along_and_the_same_command_goes_on(app):
    gate = app.folder / "gate"
    command = ["x=range(6)", override("wait_for", gate), *LAUNCHERS["joblib"], "hydra.sweeper.n_workers=2"]
    sweep = app.start(*command, "hydra.sweeper.lease=600")  # the error does not wait for it
    wait_until(lambda: len(app.runs()) == 2, 60, "two running trials")
    first, second = app.workers()
    os.kill(first, signal.SIGKILL)
    outcome = app.wait(sweep)
    assert outcome.code == 1
    assert "TerminatedWorkerError" in outcome.output
    assert "workers are gone, but 6 trials are left" in outcome.output
    assert "All recorded results are safe" in outcome.output
    assert "Traceback" not in outcome.output
    wait_until(lambda: not Path(f"/proc/{second}/exe").exists(), 60, "the end of the other worker")
    gate.touch()
    again = app.sweep(*command)
    assert again.code == 0, again.output
    assert app.runs() == {**{(number, 1): 1 for number in range(6)}, (0, 2): 1, (1, 2): 1}
    assert {trial["state"] for trial in app.trials()} == {"finished"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_end_leaves_the_others_of_its_pool_alone(app, number):
    """By what it raised it would take them along, and joblib never come to an end with that of Hydra 1.4."""
    gate = app.folder / "gate"
    command = ["x=range(6)", override("wait_for", gate), *LAUNCHERS["joblib"], "hydra.sweeper.n_workers=2"]
    sweep = app.start(*command, "hydra.sweeper.lease=600")
    wait_until(lambda: len(app.runs()) == 2, 60, "two running trials")
    released = app.signal_a_worker(number)
    wait_until(lambda: app.status()["trials"]["released"] == 1, 30, "the release")
    gate.touch()
    outcome = app.wait(sweep)
    assert outcome.code == 0, outcome.output
    assert "1 stopped by a signal" in outcome.output
    assert app.runs() == {**{(number, 1): 1 for number in range(6)}, (released, 2): 1}
    assert {trial["state"] for trial in app.trials()} == {"finished"}


def test_sigterm_gives_the_trial_back_at_once(app):
    gate = app.folder / "gate"
    sweep = app.start(
        "x=range(3)",
        override("wait_for", gate),
        *LAUNCHERS["submitit_local"],
        "hydra.sweeper.n_workers=2",
        "hydra.sweeper.lease=600",
        "hydra.sweeper.max_attempts=1",
    )
    wait_until(lambda: len(app.runs()) == 2, 60, "two running trials")
    number = app.signal_a_worker(signal.SIGTERM)
    wait_until(lambda: app.status()["trials"]["released"] == 1, 30, "the release")
    gate.touch()
    outcome = app.wait(sweep)
    assert {trial["state"] for trial in app.trials()} == {"finished"}, outcome.output
    assert app.runs() == {**{(n, 1): 1 for n in range(3)}, (number, 2): 1}


SIGNAL_AT_THE_START = """
import logging, os, pathlib, signal

class Handler(logging.NullHandler):
    def __init__(self, mark):
        super().__init__()
        if not os.path.exists(mark):
            pathlib.Path(mark).touch()
            os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_signal_that_comes_before_the_worker_can_hear_it_is_not_lost(app):
    # A job's log is made ready after submitit has begun to ignore SIGTERM, and before the worker starts.
    (app.folder / "early.py").write_text(SIGNAL_AT_THE_START)
    mark = override("+hydra.job_logging.handlers.early.mark", app.folder / "mark")
    handler = ["+hydra.job_logging.handlers.early.class=early.Handler", mark]
    outcome = app.sweep("x=range(3)", *LAUNCHERS["submitit_local"], *handler, "hydra.sweeper.n_workers=1")
    assert (app.folder / "mark").exists(), outcome.output
    assert app.trials() == []
