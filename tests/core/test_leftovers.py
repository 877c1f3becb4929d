"""What workers left behind is removed when the ledger says that nothing alive needs it, and only then."""

import os
from contextlib import closing, contextmanager

import pytest

from dahps_core.cli.overview import overview
from dahps_core.environment.batch_job import BatchJob
from dahps_core.ledger import Ledger
from dahps_core.ledger.folder.heartbeat import Heart
from dahps_core.ledger.folder.run_clock import RunClock
from dahps_core.ledger.folder.run_limits import keep_limits, limits_of, newest_limits
from dahps_core.ledger.repair.check import violations
from dahps_core.model.records import Claim, TrialState
from dahps_core.process.shutdown import Interruption
from dahps_core.worker import leftovers
from dahps_core.worker.options import WorkerOptions
from dahps_core.worker.session import Claims
from tests.ledger.ledger_support import ask, claimed, ending_of, grid, register

OPTIONS = WorkerOptions(None, 3, None, heartbeat_s=1.0, lease_s=60.0, isolate=False, max_time_s=3600.0)
LONG_AGO_S = 86_400.0


@pytest.fixture
def ledger(tmp_path):
    with Ledger.join(tmp_path / "ledger", grid(*range(200))) as ledger:
        yield ledger


def silent(ledger, run="run"):
    """A worker that has not been heard of for long."""
    worker = register(ledger, run=run)
    Heart(ledger.folder, worker).beat()
    age(heart_of(ledger, worker))
    return worker


def heart_of(ledger, worker):
    return ledger.folder / "heartbeats" / worker


def age(path):
    then = path.stat().st_mtime - LONG_AGO_S
    os.utime(path, (then, then))


@contextmanager
def started(ledger, run="next"):
    keep_limits(ledger.folder, run, OPTIONS.limits())
    with (
        Ledger.open(ledger.folder) as own,
        closing(Interruption()) as interruption,
        Claims(own, run, OPTIONS, interruption, BatchJob()) as worker,
    ):
        yield worker


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_the_heartbeats_of_workers_that_run_nothing_any_more_are_removed(ledger):
    killed, without_a_word, lives, holds = silent(ledger), silent(ledger), register(ledger), silent(ledger)
    Heart(ledger.folder, lives).beat()
    lost, held = claimed(ledger, killed), claimed(ledger, holds)
    ask(ledger, lives, dead=[killed])
    ledger.retire(without_a_word)
    with started(ledger) as worker:
        assert names(ledger.folder / "heartbeats") == {lives, holds, worker.worker}
    records = {record.id: record for record in ledger.workers("run")}
    assert {records[worker].state for worker in (killed, without_a_word)} == {"left"}
    assert {records[worker].state for worker in (lives, holds)} == {"working"}
    assert (ledger.is_held(lost), ledger.is_held(held)) == (True, True)
    assert list(violations(ledger.folder)) == []


def test_a_worker_that_was_stopped_until_its_heartbeat_was_removed_works_on(ledger):
    with started(ledger, "stopped") as worker:
        claim = worker.next()
        ledger.dismiss([worker.worker])
        ask(ledger, register(ledger), dead=[worker.worker])
        age(worker.heart.path)
        with started(ledger):
            assert not worker.heart.path.exists()
        with worker.heart.beating(OPTIONS.heartbeat_s):
            pass
        assert worker.heart.path.exists()
        assert not worker.has_lost(claim, in_doubt=True)
        assert isinstance(worker.next(after=ending_of(claim)), Claim)
        assert ledger.workers("stopped")[0].state == "working"
    assert next(ledger.trials()).state is TrialState.FINISHED


def test_what_bounded_a_multirun_is_removed_when_its_workers_have_left(ledger):
    for run in ("ended", "present", "queued", "newest"):
        keep_limits(ledger.folder, run, OPTIONS.limits())
    register(ledger, run="present")
    ledger.retire(register(ledger, run="ended"))
    with started(ledger):
        kept = {run for run in ("ended", "present", "queued") if limits_of(ledger.folder, run).max_time_s}
        assert kept == {"present", "queued"}
        assert overview(ledger)["present"][-1]["run"] == "next"
    assert newest_limits(ledger.folder)[0] == "next"


def test_the_clock_of_a_multirun_goes_on_until_no_queued_job_can_begin_it_anew(ledger):
    for run in ("goes on", "is stopped", "is over"):
        keep_limits(ledger.folder, run, OPTIONS.limits())
        RunClock(ledger.folder, run).start()
        ledger.retire(register(ledger, run=run))
    ledger.stop(run="is stopped")
    age(RunClock(ledger.folder, "is over")._beginning)
    with started(ledger):
        assert len(names(ledger.folder / "runs")) == 4, "a clock and limits each of two"
        assert limits_of(ledger.folder, "goes on").max_time_s
    assert ledger.run("is over").is_stopped, "a job that is still queued begins nothing"


def test_thousands_of_files_are_removed_in_bounded_steps(ledger, monkeypatch):
    monkeypatch.setattr(leftovers, "MOST_REMOVED", 10)
    monkeypatch.setattr(leftovers, "_BUDGET_S", 1000.0)
    for _ in range(35):
        silent(ledger)
    counts = []
    for _ in range(4):
        with started(ledger) as worker:
            counts.append(len(names(ledger.folder / "heartbeats") - {worker.worker}))
    assert counts == [25, 15, 5, 0]


def test_a_slow_storage_delays_no_worker_for_long(ledger, monkeypatch):
    monkeypatch.setattr(leftovers, "_BUDGET_S", 0.0)
    for _ in range(5):
        silent(ledger)
    with started(ledger):
        assert len(names(ledger.folder / "heartbeats")) == 5


def test_halves_of_files_are_removed_when_no_process_can_still_write_them(ledger):
    keep_limits(ledger.folder, "run", OPTIONS.limits())
    (ledger.folder / "ranks").mkdir()
    halves = [
        ledger.folder / name
        for name in (
            ".clock-abc",
            "notices.01234567",
            "runs/0.json.01234567",
            "ranks/.key.rank1",
            "ranks/key",
        )
    ]
    for half in halves:
        half.touch()
    with started(ledger):
        assert all(half.exists() for half in halves)
    for half in halves:
        age(half)
    with started(ledger):
        assert not any(half.exists() for half in halves)


def test_a_storage_that_refuses_keeps_no_worker_from_its_start(ledger, monkeypatch):
    def refuse(*arguments):
        raise OSError(5, "Input/output error")

    silent(ledger)
    monkeypatch.setattr(os, "listdir", refuse)
    with started(ledger) as worker:
        assert isinstance(worker.next(), Claim)
