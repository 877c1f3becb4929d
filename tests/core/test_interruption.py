"""Workers that are told to end, by real signals and by a person: what becomes of the current trial."""

import ctypes
import fcntl
import json
import multiprocessing
import os
import signal
import sys
import time
from functools import partial

import pytest

from dahps_core import Ledger, Search, SearchSpace, current_trial
from dahps_core.environment.batch_job import BatchJob
from dahps_core.model.records import Draw, TrialState
from dahps_core.process import linux, trial_process
from dahps_core.process.signals import handled, ignored
from dahps_core.worker.worker import Job, Worker, WorkerOptions
from tests.support import wait_until

OPTIONS = {
    "max_trials": None,
    "max_attempts": 3,
    "stop_after_failures": None,
    "heartbeat_s": 0.2,
    "lease_s": 20.0,
    "isolate": True,
    "grace_s": 60.0,
}
SEARCH = Search(SearchSpace.from_config({"root": {"key": "x", "values": [1, 2, 3], "default": None}}), seed=0)
WAIT_S = 60


def checkpoint():
    return current_trial().checkpoint_dir / "state"


def train_until_told(started):
    """Training code that asks after each step; its second attempt goes on from the checkpoint."""
    if checkpoint().exists():
        return float(checkpoint().read_text())
    started.write_text(str(os.getpid()))
    while not current_trial().preempted:
        time.sleep(0.01)
    checkpoint().write_text("7.0")
    sys.exit(0)


def listen_to_nothing(started):
    if current_trial().attempt > 1:
        return 7.0
    started.write_text(str(os.getpid()))
    while True:
        time.sleep(0.01)


def end_in_time(started):
    started.write_text(str(os.getpid()))
    while not current_trial().preempted:
        time.sleep(0.01)
    return 7.0


def end_when_asked(started):
    started.write_text(str(os.getpid()))
    wait_until((started.parent / "go on").exists, WAIT_S, "the word to go on")
    return 1.0


def break_when_told(started):
    if current_trial().attempt > 1:
        return 7.0
    started.write_text(str(os.getpid()))
    while not current_trial().preempted:
        time.sleep(0.01)
    raise RuntimeError("a data loader's process was killed by the same signal")


class Scene:
    """A worker in a process of its own, with a trial in hand."""

    def __init__(self, folder, train, *, handlers=(), **options):
        self.folder = folder / "ledger"
        self.started = folder / "started"
        self.go_on = folder / "go on"
        self.notes = folder / "notes"
        context = multiprocessing.get_context("fork")
        self.worker = context.Process(target=self.work, args=(train, handlers), kwargs=options)
        self.worker.start()
        wait_until(lambda: self.started.exists() and self.started.read_text(), WAIT_S, "the first trial")
        self.trial = int(self.started.read_text())

    def work(self, train, handlers, **options):
        for number in handlers:
            signal.signal(number, self.note)
        ledger = Ledger.join(self.folder, SEARCH)
        options = WorkerOptions(**{**OPTIONS, **options})
        Worker(ledger, "run", lambda trial: Job(lambda: train(self.started), ""), options).work()

    def note(self, number, frame):
        """A launcher's handler: writes down how the ledger stands, and leaves as submitit's does."""
        with Ledger.open(self.folder) as ledger:
            released = ledger.counts()[TrialState.RELEASED]
        with self.notes.open("a") as notes:
            notes.write(json.dumps([number, released]) + "\n")
        os.kill(os.getpid(), signal.SIGTERM)  # the scheduler's answer to a requeue
        sys.exit(17)

    def end(self):
        self.worker.join(WAIT_S)
        if self.worker.is_alive():
            self.worker.kill()
        return self.worker.exitcode

    def trials(self):
        with Ledger.open(self.folder) as ledger:
            return list(ledger.trials())

    def finish(self):
        """Another worker does what is left, and returns the trial that was interrupted."""
        ledger = Ledger.join(self.folder, SEARCH)
        options = WorkerOptions(**{**OPTIONS, "max_attempts": 1})
        job = lambda trial: Job(lambda: train_until_told(self.started) if trial.number == 0 else 1.0, "")  # noqa: E731
        assert Worker(ledger, "run", job, options).work() is Draw.EXHAUSTED
        return self.trials()[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_trial_that_is_told_saves_what_it_has_and_is_resumed(tmp_path, number):
    scene = Scene(tmp_path, train_until_told)
    os.kill(scene.worker.pid, number)
    assert scene.end() == 128 + number
    (trial,) = scene.trials()
    assert trial.state is TrialState.RELEASED
    assert trial.error == f"{signal.Signals(number).name}: its worker had to end"
    with Ledger.open(scene.folder) as ledger:
        assert [worker.state for worker in ledger.workers("run")] == ["left"]
    resumed = scene.finish()
    assert (resumed.state, resumed.metric, resumed.attempts) == (TrialState.FINISHED, 7.0, 2)


@pytest.mark.parametrize("train", [train_until_told, break_when_told])
def test_a_signal_to_all_processes_of_the_job_leaves_the_trial_its_time(tmp_path, train):
    scene = Scene(tmp_path, train)
    os.kill(scene.trial, signal.SIGTERM)
    os.kill(scene.trial, signal.SIGUSR2)
    os.kill(scene.worker.pid, signal.SIGTERM)
    assert scene.end() == 128 + signal.SIGTERM
    assert [trial.state for trial in scene.trials()] == [TrialState.RELEASED]


def test_a_trial_that_does_not_listen_is_killed_when_its_time_is_over(tmp_path):
    scene = Scene(tmp_path, listen_to_nothing, grace_s=0.3)
    os.kill(scene.worker.pid, signal.SIGTERM)
    assert scene.end() == 128 + signal.SIGTERM
    assert [trial.state for trial in scene.trials()] == [TrialState.RELEASED]
    assert not os.path.exists(f"/proc/{scene.trial}")


def test_a_signal_that_another_thread_takes_is_heard(tmp_path):
    # As the kernel may choose; so is one that comes just before the main thread falls asleep.
    scene = Scene(tmp_path, train_until_told)
    (heartbeat,) = {int(task) for task in os.listdir(f"/proc/{scene.worker.pid}/task")} - {scene.worker.pid}
    assert ctypes.CDLL(None).tgkill(scene.worker.pid, heartbeat, signal.SIGTERM) == 0
    assert scene.end() == 128 + signal.SIGTERM
    assert [trial.state for trial in scene.trials()] == [TrialState.RELEASED]


def test_other_signals_end_nothing(tmp_path):
    with handled([signal.SIGCONT], ignored):
        scene = Scene(tmp_path, end_when_asked, trial_timeout_s=WAIT_S)
    for _ in range(3):
        os.kill(scene.worker.pid, signal.SIGCONT)
    scene.go_on.touch()
    assert scene.end() == 0
    assert [trial.state for trial in scene.trials()] == [TrialState.FINISHED] * 3


def is_asleep(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


def lock_for_ever():
    """Where no handler of Python's can run: a signal does not wake who waits for a mutex."""
    signal.alarm(2 * WAIT_S)  # but for a test that fails
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    while True:
        libc.pthread_mutex_lock(mutex)


# Neither is waited for: the process is ended as soon as it is seen to sleep.
@pytest.mark.parametrize("be_busy", [partial(time.sleep, WAIT_S), lock_for_ever], ids=["asleep", "in C"])
def test_what_a_trial_s_processes_hear_is_no_word_to_the_worker(tmp_path, be_busy):
    def end_a_process_of_its_own(started):
        started.write_text(str(os.getpid()))
        context = multiprocessing.get_context("fork")
        lives = context.Event()
        helper = context.Process(target=lambda: (lives.set(), be_busy()), daemon=True)
        helper.start()
        lives.wait()
        wait_until(lambda: is_asleep(helper.pid), WAIT_S, "the process to sleep")
        helper.terminate()
        helper.join()
        return helper.exitcode

    scene = Scene(tmp_path, end_a_process_of_its_own, isolate=False)
    assert scene.end() == 0
    assert [trial.metric for trial in scene.trials()] == [-signal.SIGTERM] * 3


def test_a_result_that_comes_in_time_counts(tmp_path):
    scene = Scene(tmp_path, end_in_time)
    os.kill(scene.worker.pid, signal.SIGTERM)
    assert scene.end() == 128 + signal.SIGTERM
    assert [(trial.state, trial.metric) for trial in scene.trials()] == [(TrialState.FINISHED, 7.0)]


def test_a_trial_in_the_worker_s_own_process_is_released_at_once(tmp_path):
    scene = Scene(tmp_path, listen_to_nothing, isolate=False)
    os.kill(scene.worker.pid, signal.SIGTERM)
    assert scene.end() == 128 + signal.SIGTERM
    assert [trial.state for trial in scene.trials()] == [TrialState.RELEASED]


@pytest.mark.parametrize("isolate", [True, False])
def test_the_launcher_s_own_handler_comes_last_and_once(tmp_path, isolate):
    scene = Scene(tmp_path, listen_to_nothing, handlers=[signal.SIGUSR2], isolate=isolate, grace_s=0.5)
    os.kill(scene.trial, signal.SIGUSR2)  # to the whole job, as the scheduler sends it
    os.kill(scene.worker.pid, signal.SIGUSR2)
    assert scene.end() == 17
    assert scene.notes.read_text().splitlines() == [json.dumps([signal.SIGUSR2, 1])]
    assert [trial.state for trial in scene.trials()] == [TrialState.RELEASED]


def test_a_second_ctrl_c_does_not_keep_a_trial_from_being_given_back(tmp_path):
    # A terminal signals the worker, and then its launcher does; here while it waits for its turn to write.
    scene = Scene(tmp_path, listen_to_nothing)
    with (scene.folder / "ledger.gate").open("r+b") as gate:
        fcntl.lockf(gate, fcntl.LOCK_EX)
        for _ in range(2):
            os.kill(scene.worker.pid, signal.SIGINT)
            wait_until(lambda: waits_for_a_lock(scene.worker.pid), WAIT_S, "the worker at the gate")
    scene.end()
    assert [trial.state for trial in scene.trials()] == [TrialState.RELEASED]


def waits_for_a_lock(pid):
    with open("/proc/locks") as locks:
        return any("->" in line and f" {pid} " in line for line in locks)


def test_a_ctrl_c_that_reaches_the_trial_first_gives_it_back(tmp_path, monkeypatch):
    monkeypatch.setattr(trial_process, "SIGNAL_GRACE_S", WAIT_S)
    scene = Scene(tmp_path, listen_to_nothing)
    os.kill(scene.trial, signal.SIGINT)  # to the whole job, one process after the other
    wait_until(lambda: not linux.is_there(scene.trial), WAIT_S, "the end of the trial")
    os.kill(scene.worker.pid, signal.SIGINT)
    scene.end()
    assert [trial.state for trial in scene.trials()] == [TrialState.RELEASED]


def test_a_person_stops_the_workers_at_once(tmp_path):
    scene = Scene(tmp_path, train_until_told)
    with Ledger.open(scene.folder) as ledger:
        ledger.stop(now=True)
    assert scene.end() == 0
    (trial,) = scene.trials()
    assert (trial.state, trial.error) == (
        TrialState.RELEASED,
        "dahps stop --now: its worker had to end",
    )


def test_a_person_stops_the_workers_after_their_trials(tmp_path):
    scene = Scene(tmp_path, end_when_asked)
    with Ledger.open(scene.folder) as ledger:
        ledger.stop()
    scene.go_on.touch()
    assert scene.end() == 0
    assert [(trial.state, trial.metric) for trial in scene.trials()] == [(TrialState.FINISHED, 1.0)]


def test_a_person_cancels_a_running_trial(tmp_path):
    scene = Scene(tmp_path, listen_to_nothing)
    with Ledger.open(scene.folder) as ledger:
        ledger.cancel(0)
    wait_until(lambda: not os.path.exists(f"/proc/{scene.trial}"), WAIT_S, "the end of the trial")
    wait_until(lambda: len(scene.trials()) == 2, WAIT_S, "the next trial")
    assert scene.trials()[0].state is TrialState.CANCELLED
    os.kill(scene.worker.pid, signal.SIGKILL)


def test_a_worker_leaves_when_no_trial_can_end_in_its_job_s_time(tmp_path):
    ledger = Ledger.join(tmp_path, SEARCH)
    options = WorkerOptions(**{**OPTIONS, "trial_time_s": 3600.0})
    worker = Worker(
        ledger, "run", lambda trial: Job(lambda: 1.0, ""), options, BatchJob(ends_at=time.time() + 60)
    )
    assert worker.work() is Draw.OUT_OF_TIME
    worker = Worker(
        ledger, "run", lambda trial: Job(lambda: 1.0, ""), options, BatchJob(ends_at=time.time() + 7200)
    )
    assert worker.work() is Draw.EXHAUSTED


def test_a_worker_on_a_host_where_all_fails_retires_and_eats_no_search(tmp_path):
    values = list(range(100))
    space = SearchSpace.from_config({"root": {"key": "x", "values": values, "default": None}})
    ledger = Ledger.join(tmp_path, Search(space, seed=0))
    with Ledger.join(tmp_path, Search(space, seed=0)) as elsewhere:
        other = elsewhere.register("run", "elsewhere", 1, None)

        def fail_here():
            if current_trial().number == 1:  # meanwhile it goes well elsewhere
                limits = {"max_trials": None, "max_attempts": 1, "stop_after_failures": None}
                claim = elsewhere.claim(other, **limits)
                elsewhere.finish_if_held(claim, result=1.0, metric=1.0, output_dir="")
            raise OSError("no space left on this host's disk")

        options = WorkerOptions(**{**OPTIONS, "isolate": False})
        worker = Worker(ledger, "run", lambda trial: Job(fail_here, ""), options)
        assert worker.work() is Draw.RETIRED
        assert elsewhere.n_drawn < 10
