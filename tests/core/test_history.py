"""What trials report: kept whatever ends them, and written before a checkpoint counts."""

import faulthandler
import json
import math
import multiprocessing
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest

from dahps_core import Ledger, Search, SearchSpace, current_trial
from dahps_core.errors import ClaimLost, ConfigurationError, LedgerUnavailableError, MetricError
from dahps_core.ledger.folder import unrecorded
from dahps_core.ledger.sqlite.lock_folder import LockTakenOver
from dahps_core.model.records import Claim, Ending, Report
from dahps_core.process.trial_process import Child
from dahps_core.trial.history import History
from dahps_core.worker.worker import Job, Worker, WorkerOptions
from tests.support import wait_until

SEARCH = Search(SearchSpace.from_config({"root": {"key": "x", "values": [1], "default": None}}), seed=0)


def work(folder, evaluate, isolate=True, max_attempts=1, **options):
    """One worker; the history of the only trial."""
    options = WorkerOptions(None, max_attempts, None, 60, 120, isolate=isolate, **options)
    ledger = Ledger.join(folder, SEARCH, patience_s=0.2)
    Worker(ledger, "run", lambda trial: Job(evaluate, str(folder)), options).work()
    return ledger.history(0)


def reported(*steps):
    for step in steps:
        current_trial().report(step / 8, step)


def returns(trial):
    return 1.0


def raises(trial):
    raise ValueError("the loss is gone")


def is_killed(trial):
    os.kill(os.getpid(), signal.SIGKILL)


def ends_at_once(trial):
    os._exit(11)


def segfaults(trial):
    faulthandler.disable()  # pytest's would fill the terminal
    os.kill(os.getpid(), signal.SIGSEGV)


def reports_elsewhere(trial):
    """From a forked process of its own, as a data loader's is."""
    process = multiprocessing.get_context("fork").Process(target=reported, args=(3,))
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("ending", [returns, raises, is_killed, ends_at_once, segfaults])
def test_what_a_trial_has_reported_is_kept_however_it_ends(tmp_path, ending):
    def evaluate():
        reported(1, 2)
        return ending(current_trial())

    assert work(tmp_path, evaluate) == [(1, 1, 0.125), (1, 2, 0.25)]


@pytest.mark.parametrize("ending", [returns, raises])
def test_the_same_in_the_worker_s_own_process(tmp_path, ending):
    def evaluate():
        reported(1, 2)
        return ending(current_trial())

    assert work(tmp_path, evaluate, isolate=False) == [(1, 1, 0.125), (1, 2, 0.25)]


def test_what_a_process_of_the_trial_reports_counts(tmp_path):
    assert work(tmp_path, lambda: reports_elsewhere(current_trial())) == [(1, 3, 0.375)]


def test_a_trial_that_is_killed_for_its_time_keeps_what_it_reported(tmp_path):
    def evaluate():
        reported(1)
        signal.pause()

    assert work(tmp_path, evaluate, trial_timeout_s=0.5) == [(1, 1, 0.125)]


@pytest.mark.parametrize("isolate", [True, False])
def test_any_float_is_kept_and_the_last_word_for_a_step_counts(tmp_path, isolate):
    metrics = [math.nan, math.inf, -math.inf, 0.1, 5e-324, -1.7e308]

    def evaluate():
        for step, metric in enumerate(metrics):
            current_trial().report(7.0, step)
            current_trial().save_checkpoint(step)
            current_trial().report(metric, step)

    history = work(tmp_path, evaluate, isolate)
    assert [(attempt, step, repr(metric)) for attempt, step, metric in history] == [
        (1, step, repr(metric)) for step, metric in enumerate(metrics)
    ]


def test_each_attempt_has_its_own_and_they_come_in_order(tmp_path):
    def evaluate():
        reported(2, 1)
        raise ValueError

    history = work(tmp_path, evaluate, max_attempts=2)
    assert [(attempt, step) for attempt, step, _ in history] == [(1, 1), (1, 2), (2, 1), (2, 2)]


@pytest.mark.parametrize("isolate", [True, False])
def test_many_reports_arrive_in_one_transaction(tmp_path, isolate, monkeypatch):
    written = []
    monkeypatch.setattr(Ledger, "record_history", lambda *arguments: written.append(arguments))
    assert len(work(tmp_path, lambda: reported(*range(100_000)), isolate)) == 100_000
    assert written == [], "they come with the attempt's end"


@pytest.mark.parametrize("isolate", [True, False])
def test_what_was_reported_is_in_the_ledger_when_the_checkpoint_is_there(tmp_path, isolate):
    def evaluate():
        trial = current_trial()
        reported(1)
        trial.save_checkpoint({"step": 1})
        with Ledger.open(tmp_path) as ledger:
            return float(len(ledger.history(0)))

    work(tmp_path, evaluate, isolate)
    assert Ledger.open(tmp_path).best().metric == 1


@pytest.mark.parametrize("isolate", [True, False])
def test_whoever_lost_its_claim_can_save_no_checkpoint(tmp_path, isolate):
    told = tmp_path / "told"

    def evaluate():
        trial = current_trial()
        trial.save_checkpoint("mine")
        with Ledger.open(tmp_path) as ledger:
            ledger.cancel(0)
        with pytest.raises(ClaimLost, match="trial 0: attempt 1 no longer holds the trial"):
            trial.save_checkpoint("another's")
        told.write_text(trial.load_checkpoint())

    assert work(tmp_path, evaluate, isolate) == []
    assert told.read_text() == "mine"
    assert os.listdir(tmp_path / "checkpoints" / "0") == ["checkpoint.pt"]


def test_forked_processes_and_threads_of_a_trial_report_and_save_at_once(tmp_path):
    n_processes, n_threads, n_saves = 4, 2, 5

    def report_and_save(first):
        for step in range(first, first + n_saves):
            current_trial().report(step / 8, step)
            current_trial().save_checkpoint(step)
            with Ledger.open(tmp_path) as ledger:
                assert (1, step, step / 8) in ledger.history(0)

    def train(process):
        starts = [(process * n_threads + thread) * n_saves for thread in range(n_threads)]
        with ThreadPoolExecutor() as pool:
            list(pool.map(report_and_save, starts))

    def evaluate():
        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=train, args=[number]) for number in range(n_processes)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * n_processes

    steps = range(n_processes * n_threads * n_saves)
    assert work(tmp_path, evaluate, trial_timeout_s=100) == [(1, step, step / 8) for step in steps]
    assert os.listdir(tmp_path / "checkpoints" / "0") == ["checkpoint.pt"]


def test_threads_that_write_at_once_lose_no_report():
    written = []

    def write(reports):
        if not others:
            others.append(threading.Thread(target=history.flush))
            others[0].start()
            others[0].join(0.5)  # it waits for this one
            history.report(Report(2, 0.5))
        written.extend(reports)

    others = []
    history = History(write)
    history.report(Report(1, 0.5))
    history.flush()
    others[0].join()
    assert {*written, *history.rest} == {Report(1, 0.5), Report(2, 0.5)}


def test_a_process_that_is_forked_while_another_thread_writes_can_write():
    history = History(lambda reports: forked.append(os.fork()) if not forked else None)
    forked = []
    history.flush()
    if forked[0] == 0:
        try:
            thread = threading.Thread(target=history.flush, daemon=True)
            thread.start()
            thread.join(30)
        finally:
            os._exit(thread.is_alive())
    assert os.waitstatus_to_exitcode(os.waitpid(forked[0], 0)[1]) == 0


def test_a_request_that_a_worker_cannot_read_any_more_is_refused():
    here, there = socket.socketpair()
    history = History(lambda reports: None)
    history.send_to(here)
    there.close()
    with here, pytest.raises(LedgerUnavailableError, match="cannot be reached"):
        history.flush()


def test_the_ledger_s_refusal_reaches_the_trial_whatever_its_kind():
    def refuse(reports):
        raise LockTakenOver("the lock was taken over")

    history = History(refuse)
    with Child(history.flush, history) as child:
        while not child.wait(60):
            pass
        assert child.end().error == "the lock was taken over."


def test_a_history_that_cannot_be_recorded_is_kept_beside_the_output(tmp_path):
    folder, away = tmp_path / "ledger", tmp_path / "away"
    ledger = Ledger.join(folder, SEARCH, patience_s=0.2)

    def evaluate():
        reported(1, 2)
        current_trial().report(math.nan, 3)
        folder.rename(away)
        return 0.5

    options = WorkerOptions(None, 1, None, 60, 120, isolate=True)
    with pytest.raises(LedgerUnavailableError):
        Worker(ledger, "run", lambda trial: Job(evaluate, str(tmp_path)), options).work()
    away.rename(folder)
    ending = unrecorded.read(tmp_path / unrecorded.FILE_NAME)
    with Ledger.open(folder) as ledger:
        ledger.end_if_held(ending)
        assert str(ledger.history(0)) == "[(1, 1, 0.125), (1, 2, 0.25), (1, 3, nan)]"


@pytest.mark.parametrize(
    "reports", [[[1]], [[1, "0.5"]], [[-1, 0.5]], [[2**63, 0.5]], [[True, 0.5]], [[1, 2, 3]], 7, [None]]
)
def test_an_unrecorded_history_that_no_worker_wrote_is_refused(tmp_path, reports):
    good = Ending(0, 1, "f" * 32, "finished", 0.5, 0.5, reports=(Report(1, math.inf),))
    path = unrecorded.write(tmp_path, good, tmp_path)
    assert unrecorded.read(path) == good
    path.write_text(json.dumps({**json.loads(path.read_text()), "reports": reports}))
    with pytest.raises(Exception, match="was not written by a worker"):
        unrecorded.read(path)


def test_a_child_that_reports_without_end_does_not_hold_its_worker(tmp_path):
    history = History(lambda reports: None)

    def report_for_ever():
        while True:
            history.report(Report(1, 0.5))

    with Child(report_for_ever, history) as child:
        wait_until(lambda: child.wait(0.1) or history.rest, 60, "its first reports")
        assert not child.wait(0.1)
        assert child.end().outcome == "died"
    assert set(history.rest) == {Report(1, 0.5)}


def test_a_child_that_closes_all_that_it_has_is_waited_for(tmp_path):
    def close_all():
        os.closerange(3, 100)
        time.sleep(0.2)  # the worker sees that before it sees the end
        os._exit(3)

    with Child(close_all, History(lambda reports: None)) as child:
        assert child.wait(60)
        assert "exit code 3" in child.end().error


@pytest.mark.parametrize("step", [-1, 2**63, 1.0, "1", None])
def test_what_is_no_step_is_told(tmp_path, step):
    def evaluate():
        with pytest.raises(ConfigurationError, match=r"report: .* is no step\. Count steps from 0"):
            current_trial().report(0.5, step)

    assert work(tmp_path, evaluate, isolate=False) == []
    assert Ledger.open(tmp_path).best() is None
    assert Ledger.open(tmp_path).counts()


@pytest.mark.parametrize("metric", ["good", None, [0.5], {"loss": 0.5}, numpy.ma.masked])
def test_what_is_no_metric_is_told(tmp_path, metric):
    def evaluate():
        with pytest.raises(MetricError, match=r"the reported metric is .*\. Report a number"):
            current_trial().report(metric, 1)

    assert work(tmp_path, evaluate, isolate=False) == []


class TestInTheLedger:
    @pytest.fixture
    def ledger(self, tmp_path):
        with Ledger.join(tmp_path, SEARCH) as ledger:
            yield ledger

    def claimed(self, ledger, *dead):
        worker = ledger.register("run", "host", 1, None)
        limits = {"max_trials": None, "max_attempts": 9, "stop_after_failures": None}
        claim = ledger.claim(worker, dead=dead, **limits)
        assert isinstance(claim, Claim)
        return worker, claim

    def test_whoever_was_held_for_dead_writes_until_the_trial_is_claimed_again(self, ledger):
        worker, claim = self.claimed(ledger)
        other = ledger.register("run", "host", 1, None)
        ledger.claim(other, dead=[worker], max_trials=None, max_attempts=1, stop_after_failures=None)
        ledger.record_history(claim, [Report(1, 0.5)])
        self.claimed(ledger, worker)
        with pytest.raises(ClaimLost):
            ledger.record_history(claim, [Report(2, 0.5)])
        assert ledger.history(0) == [(1, 1, 0.5)]

    def test_nothing_is_written_by_an_end_that_is_refused(self, ledger):
        worker, claim = self.claimed(ledger)
        self.claimed(ledger, worker)
        late = Ending(0, 1, claim.token, "finished", 1.0, 1.0, reports=(Report(1, 0.5),))
        with pytest.raises(ClaimLost):
            ledger.end_if_held(late)
        assert ledger.history(0) == []

    def test_nobody_s_history_is_empty(self, ledger):
        assert ledger.history(17) == []
