"""Workers without Hydra: real processes on a real ledger."""

import math
import multiprocessing
import os
import signal

import pytest
import torch

from dahps_core import Ledger, Search, SearchSpace, current_trial
from dahps_core.errors import ConfigurationError, LedgerUnavailableError, NotALedgerError
from dahps_core.ledger.folder import unrecorded
from dahps_core.model.records import Claim, Draw, TrialState
from dahps_core.worker.worker import Job, Worker, WorkerOptions
from tests.support import wait_until

OPTIONS = {
    "max_trials": None,
    "max_attempts": 3,
    "stop_after_failures": None,
    "heartbeat_s": 0.2,
    "lease_s": 1.5,
    "isolate": True,
}

SEARCH = Search(SearchSpace.from_config({"root": {"key": "x", "values": [1, 2, 3], "default": None}}), seed=0)


def evaluate_x(trial):
    return Job(lambda: trial.combination["x"], output_dir="somewhere")


def work(folder, prepare, run="run", **options):
    ledger = Ledger.join(folder, SEARCH)
    return Worker(ledger, run, prepare, WorkerOptions(**{**OPTIONS, **options})).work()


def spawn(folder, prepare, **options):
    process = multiprocessing.get_context("fork").Process(target=work, args=(folder, prepare), kwargs=options)
    process.start()
    return process


@pytest.mark.parametrize("isolate", [True, False])
def test_a_worker_works_until_the_space_is_exhausted(tmp_path, isolate):
    assert work(tmp_path, evaluate_x, isolate=isolate) is Draw.EXHAUSTED
    trials = list(Ledger.open(tmp_path).trials())
    assert [(trial.state, trial.metric) for trial in trials] == [
        (TrialState.FINISHED, trial.combination["x"]) for trial in trials
    ]
    assert len(trials) == 3
    assert {trial.output_dir for trial in trials} == {"somewhere"}
    assert str(os.getpid()) in trials[0].worker


def test_a_multirun_begins_nothing_when_its_time_is_up_and_finishes_what_runs(tmp_path):
    began = tmp_path / "runs"

    def outlast(limit_s):
        """Until the storage's clock says so."""
        now = tmp_path / "now"
        wait_until(lambda: [now.touch(), aged(now, began) > limit_s][1], 60, "the end of the time")
        return 1.0

    limit_s = 0.2
    draw = work(tmp_path, lambda trial: Job(lambda: outlast(limit_s), output_dir=""), max_time_s=limit_s)
    assert draw is Draw.TIME_UP
    with Ledger.open(tmp_path) as ledger:
        assert [trial.state for trial in ledger.trials()] == [TrialState.FINISHED]
        assert ledger.run("run").is_stopped
    assert work(tmp_path, evaluate_x, max_time_s=limit_s) is Draw.TIME_UP, "whoever comes late gets none"
    assert work(tmp_path, evaluate_x) is Draw.STOPPED
    assert work(tmp_path, evaluate_x, run="the next", max_time_s=1e9) is Draw.EXHAUSTED


def aged(now, folder):
    return now.stat().st_mtime - min(path.stat().st_mtime for path in folder.iterdir())


@pytest.mark.parametrize("isolate", [True, False])
def test_the_code_of_a_trial_knows_which_it_is(tmp_path, isolate):
    def prepare(trial):
        return Job(lambda: float(current_trial() == trial), output_dir="")

    work(tmp_path, prepare, isolate=isolate)
    assert {trial.metric for trial in Ledger.open(tmp_path).trials()} == {1.0}
    assert current_trial().number is None


def test_all_attempts_of_a_trial_share_its_checkpoints(tmp_path):
    def count_attempts():
        file = current_trial().checkpoint_dir / "attempts"
        attempts = int(file.read_text()) + 1 if file.exists() else 1
        file.write_text(str(attempts))
        if attempts < 3:
            os._exit(1)
        return attempts

    work(tmp_path, lambda trial: Job(count_attempts, output_dir=""))
    assert [trial.metric for trial in Ledger.open(tmp_path).trials()] == [3, 3, 3]


def test_a_trial_that_cannot_be_made_ready_fails_with_the_reason(tmp_path):
    def prepare(trial):
        raise KeyError("no such group")

    work(tmp_path, prepare, max_attempts=1)
    assert all("KeyError: 'no such group'" in trial.error for trial in Ledger.open(tmp_path).trials())


def test_an_attempt_that_is_killed_is_lost_and_the_trial_run_again(tmp_path):
    def is_killed(trial):
        def evaluate():
            if trial.attempt < 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return 1.0

        return Job(evaluate, output_dir="")

    work(tmp_path, is_killed, max_attempts=2)
    lost = list(Ledger.open(tmp_path).trials())
    assert {trial.state for trial in lost} == {TrialState.LOST}
    assert all("signal 9" in trial.error for trial in lost)
    work(tmp_path, is_killed, max_attempts=3)
    assert [trial.metric for trial in Ledger.open(tmp_path).trials()] == [1, 1, 1]


def test_a_worker_that_was_stopped_past_its_lease_cannot_write(tmp_path):
    started, go_on = tmp_path / "started", tmp_path / "go on"

    def first_is_slow(trial):
        def evaluate():
            if trial.attempt == 1 and not started.exists():
                started.touch()
                wait_until(go_on.exists, 60, "the signal to go on")
                return -100.0
            return 7.0

        return Job(evaluate, output_dir="")

    zombie = spawn(tmp_path / "ledger", first_is_slow)
    wait_until(started.exists, 30, "the first trial")
    os.kill(zombie.pid, signal.SIGSTOP)
    assert work(tmp_path / "ledger", first_is_slow) is Draw.EXHAUSTED
    go_on.touch()
    os.kill(zombie.pid, signal.SIGCONT)
    zombie.join(30)
    assert zombie.exitcode == 0
    trials = list(Ledger.open(tmp_path / "ledger").trials())
    assert [trial.metric for trial in trials] == [7, 7, 7]
    assert sorted(trial.attempts for trial in trials) == [1, 1, 2]


def test_a_worker_stopped_past_its_lease_still_counts_while_nobody_has_claimed_its_trial(tmp_path):
    started, go_on = tmp_path / "started", tmp_path / "go on"

    def slow(trial):
        def evaluate():
            started.touch()
            wait_until(go_on.exists, 60, "the signal to go on")
            return 7.0

        return Job(evaluate, output_dir="")

    zombie = spawn(tmp_path / "ledger", slow)
    wait_until(started.exists, 30, "the first trial")
    os.kill(zombie.pid, signal.SIGSTOP)
    work(tmp_path / "ledger", evaluate_x, max_attempts=1)  # may not claim it, and sees it lost
    assert Ledger.open(tmp_path / "ledger").counts()[TrialState.LOST] == 1
    go_on.touch()
    os.kill(zombie.pid, signal.SIGCONT)
    zombie.join(30)
    assert Ledger.open(tmp_path / "ledger").counts()[TrialState.FINISHED] == 3


def test_an_idle_worker_takes_over_from_one_that_dies(tmp_path):
    started = tmp_path / "started"

    def last_one_hangs(trial):
        def evaluate():
            if trial.number == 2 and trial.attempt == 1:
                started.touch()
                signal.pause()
            return 0.0

        return Job(evaluate, output_dir="")

    first = spawn(tmp_path / "ledger", last_one_hangs)
    wait_until(started.exists, 30, "the last trial")
    second = spawn(tmp_path / "ledger", last_one_hangs)
    ledger = Ledger.open(tmp_path / "ledger")
    wait_until(lambda: "waiting" in {w.state for w in ledger.workers("run")}, 30, "an idle worker")
    first.kill()
    second.join(30)
    assert ledger.counts()[TrialState.FINISHED] == 3
    assert [trial.attempts for trial in ledger.trials()] == [1, 1, 2]


def test_workers_that_have_ended_hold_nothing_open(tmp_path):
    def work_once(n_trials):
        with Ledger.join(tmp_path, SEARCH) as ledger:
            Worker(ledger, "run", evaluate_x, WorkerOptions(**{**OPTIONS, "max_trials": n_trials})).work()
        return len(os.listdir("/proc/self/fd"))

    assert work_once(1) == work_once(2) == work_once(3)


def test_a_worker_tells_that_its_ledger_is_another_one_now(tmp_path):
    folder, output = tmp_path / "ledger", tmp_path / "output"

    def remove_and_make_anew(trial):
        def evaluate():
            # Made elsewhere: where this worker's heart beats, none is made in place of one that is gone.
            Ledger.join(tmp_path / "new", SEARCH).close()
            folder.rename(tmp_path / "old")
            (tmp_path / "new").rename(folder)

        return Job(evaluate, str(output))

    with pytest.raises(NotALedgerError, match="the ledger was replaced"):
        work(folder, remove_and_make_anew)
    assert Ledger.open(folder).n_drawn == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_trials", 0),
        ("max_attempts", 0),
        ("stop_after_failures", 0),
        ("heartbeat_s", 0),
        ("lease_s", 0.3),
        ("trial_timeout_s", 0),
        ("trial_timeout_s", math.inf),
        ("trial_timeout_s", math.nan),
        ("heartbeat_s", math.nan),
        ("lease_s", 1e300),
        ("max_attempts", 2**63),
        ("trial_time_s", -1),
        ("grace_s", math.nan),
    ],
)
def test_options_that_cannot_work_are_refused(name, value):
    with pytest.raises(ConfigurationError, match=name.removesuffix("_s")):
        WorkerOptions(**{**OPTIONS, name: value})


def test_a_time_limit_needs_a_process_that_can_be_killed():
    with pytest.raises(ConfigurationError, match="own process"):
        WorkerOptions(**{**OPTIONS, "isolate": False, "trial_timeout_s": 1})


def test_a_trial_that_hangs_is_killed_after_its_time_limit_and_has_failed(tmp_path):
    def hangs_once(trial):
        def evaluate():
            if trial.attempt == 1:
                signal.pause()
            return 1.0

        return Job(evaluate, output_dir="")

    assert work(tmp_path, hangs_once, max_attempts=2, trial_timeout_s=0.3) is Draw.EXHAUSTED
    assert [(trial.metric, trial.attempts) for trial in Ledger.open(tmp_path).trials()] == [(1, 2)] * 3
    work(tmp_path / "other", hangs_once, max_attempts=1, trial_timeout_s=0.3)
    errors = {trial.error for trial in Ledger.open(tmp_path / "other").trials()}
    assert errors == {"the trial ran for longer than its time limit of 0.3 s, and was killed"}
    assert Ledger.open(tmp_path / "other").counts()[TrialState.FAILED] == 3


def test_a_zombie_s_trial_ends_as_soon_as_its_worker_learns_that_it_is_lost(tmp_path):
    started = tmp_path / "started"

    def first_never_ends(trial):
        def evaluate():
            if trial.attempt == 1 and not started.exists():
                started.write_text(str(os.getpid()))
                signal.pause()
            return 7.0

        return Job(evaluate, output_dir="")

    zombie = spawn(tmp_path / "ledger", first_never_ends)
    wait_until(lambda: started.exists() and started.read_text(), 30, "the first trial")
    os.kill(zombie.pid, signal.SIGSTOP)
    assert work(tmp_path / "ledger", first_never_ends) is Draw.EXHAUSTED
    os.kill(zombie.pid, signal.SIGCONT)
    zombie.join(30)  # its child would never end by itself
    assert zombie.exitcode == 0
    assert not os.path.exists(f"/proc/{started.read_text()}")
    assert [trial.metric for trial in Ledger.open(tmp_path / "ledger").trials()] == [7, 7, 7]


def test_what_cannot_be_recorded_is_kept_beside_the_trial_s_output(tmp_path, caplog):
    folder, away, output = tmp_path / "a ledger", tmp_path / "away", tmp_path / "output"
    output.mkdir()

    def unmount(trial):
        return Job(lambda: [folder.rename(away), 0.25][1], output_dir=str(output))

    ledger = Ledger.join(folder, SEARCH, patience_s=0.2)
    with pytest.raises(LedgerUnavailableError):
        Worker(ledger, "run", unmount, WorkerOptions(**OPTIONS)).work()
    kept = unrecorded.read(output / "dahps-unrecorded.json")
    assert (kept.number, kept.attempt, kept.outcome, kept.metric) == (0, 1, "finished", 0.25)
    assert f"dahps recover '{folder}'" in caplog.text
    away.rename(folder)
    assert Ledger.open(folder).counts()[TrialState.RUNNING] == 1
    assert Ledger.open(folder).is_held(Claim(0, 1, kept.token, SEARCH.space[0], 0)), (
        "its token still counts, as long as nobody has claimed the trial"
    )


def test_a_worker_whose_heartbeat_cannot_be_seen_draws_no_trial(tmp_path):
    Ledger.join(tmp_path, SEARCH).close()
    (tmp_path / "heartbeats").write_text("a file in place of the folder")
    with pytest.raises(LedgerUnavailableError, match="heartbeats"):
        work(tmp_path, evaluate_x)
    assert Ledger.open(tmp_path).n_drawn == 0


def test_cuda_is_touched_in_the_trials_processes_alone(tmp_path, monkeypatch):
    touched = tmp_path / "touched"

    def touch():
        """Stands in for a driver, which this machine need not have."""
        with touched.open("a") as file:
            file.write(f"{os.getpid()}\n")

    monkeypatch.setattr(torch.cuda, "_lazy_init", touch)

    def train():
        torch.cuda._lazy_init()
        return {"loss": torch.tensor(0.5), "accuracy": torch.tensor([0.25])[0]}

    search = Search(SearchSpace.from_config({"root": None}), metric="loss")
    ledger = Ledger.join(tmp_path / "ledger", search)
    Worker(ledger, "run", lambda trial: Job(train, ""), WorkerOptions(**OPTIONS)).work()
    assert next(ledger.trials()).metric == 0.5
    assert touched.read_text().splitlines() not in ([], [str(os.getpid())])
