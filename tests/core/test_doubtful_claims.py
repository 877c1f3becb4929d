"""Workers whose heartbeat fails, and trials that change the directory of their worker."""

import os
import signal
import time
from functools import partial

import pytest

from dahps_core import Ledger, current_trial
from dahps_core.errors import ConfigurationError
from dahps_core.ledger.folder.run_clock import RunClock
from dahps_core.model.records import Draw, TrialState
from dahps_core.worker.worker import Job
from tests.core.test_worker import SEARCH, spawn, work
from tests.support import wait_until


@pytest.mark.parametrize("isolate", [True, False])
def test_a_worker_that_cannot_beat_learns_that_its_trial_was_taken(tmp_path, isolate):
    folder, begun = tmp_path / "ledger", tmp_path / "begun"

    def first_never_ends(trial):
        def evaluate():
            if trial.number == 0:
                begun.write_text(str(os.getpid()))
                if isolate:
                    signal.pause()
                wait_until(lambda: current_trial().preempted, 60, "the word to leave")
            return 7.0

        return Job(evaluate, output_dir="")

    process = spawn(folder, first_never_ends, isolate=isolate)
    wait_until(lambda: begun.exists() and begun.read_text(), 60, "the first trial")
    (folder / "heartbeats").rename(folder / "gone")
    (folder / "heartbeats").write_text("a file in place of the folder")
    with Ledger.join(folder, SEARCH) as ledger:
        (silent,) = [present.record.id for present in ledger.present_workers()]
        other = ledger.register(run="other", host="host", pid=1, job=None)
        limits = {"max_trials": 1, "max_attempts": 3, "stop_after_failures": None}
        claim = ledger.claim(other, **limits, dead=[silent])
        assert (claim.number, claim.attempt) == (0, 2)
        ledger.finish_if_held(claim, result=1.0, metric=1.0, output_dir=None)
        process.join(60)  # it finishes the other trials, whatever becomes of its heartbeat
        assert process.exitcode == 0
        assert [trial.metric for trial in ledger.trials()] == [1.0, 7.0, 7.0]


def test_a_storage_that_is_gone_for_longer_than_a_lease_is_no_lost_claim(tmp_path, caplog):
    folder, away = tmp_path / "ledger", tmp_path / "away"

    def outage():
        folder.rename(away)
        end = time.monotonic() + 1.0  # two leases
        wait_until(lambda: time.monotonic() > end, 60, "the end of the outage")
        away.rename(folder)
        return 7.0

    assert (
        work(folder, lambda trial: Job(outage, output_dir=""), lease_s=0.5, heartbeat_s=0.05)
        is Draw.EXHAUSTED
    )
    with Ledger.open(folder) as ledger:
        assert [(trial.state, trial.attempts) for trial in ledger.trials()] == [(TrialState.FINISHED, 1)] * 3
    warnings = [record for record in caplog.records if "no heartbeat could be written" in record.getMessage()]
    assert len(warnings) == 3, "one for each outage"
    assert "was taken" not in caplog.text


def test_a_trial_in_its_worker_s_process_changes_no_directory_for_the_next_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []

    def evaluate():
        seen.append(os.getcwd())
        os.makedirs("deeper", exist_ok=True)
        os.chdir("deeper")
        return 1.0

    assert work("ledger", lambda trial: Job(evaluate, output_dir=""), isolate=False) is Draw.EXHAUSTED
    assert seen == [str(tmp_path)] * 3
    assert os.getcwd() == str(tmp_path)
    assert Ledger.open("ledger").counts()[TrialState.FINISHED] == 3


def test_a_relative_path_of_a_directory_that_was_removed_is_refused(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for use in (Ledger.open, partial(Ledger.join, search=SEARCH)):
        with pytest.raises(ConfigurationError, match="ledger: the path is relative"):
            use("ledger")


def test_time_goes_on_for_a_multirun_whose_clock_cannot_be_read(tmp_path):
    clock = RunClock(tmp_path, "run")
    clock.start()
    for path in (tmp_path / "runs").iterdir():
        path.unlink()
    first = clock.elapsed_s(tmp_path)
    wait_until(lambda: clock.elapsed_s(tmp_path) > first, 30, "the time to go on")
