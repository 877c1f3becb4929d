"""The ledger on storage that is slow, gone, or lies; and processes that end in the middle of a write."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import ledger_work
import pytest
from ledger_support import ask, assert_sound, claimed, finish, register

from dahps_core.ledger import FILE_NAME, Ledger
from dahps_core.ledger.folder import unrecorded
from dahps_core.ledger.sqlite import lock_folder
from dahps_core.model.records import Claim, TrialState
from tests.faults.forks import WAIT_S, Forks
from tests.faults.storage import FaultyStorage
from tests.support import wait_until

LOCKINGS = ["fcntl", "folder"]


@pytest.fixture(params=LOCKINGS)
def locking(request):
    return request.param


@pytest.fixture
def ledger(tmp_path, locking):
    """A ledger with one finished trial, whose worker goes on."""
    with Ledger.join(tmp_path / "a ledger", ledger_work.SEARCH, locking=locking) as ledger:
        finish(ledger, claimed(ledger, register(ledger)), metric=10.0)
        yield ledger


@pytest.fixture
def storage(ledger, tmp_path):
    return FaultyStorage(ledger.folder, tmp_path / "control")


def start(storage, folder, locking, *arguments, **faults):
    script = Path(__file__).parent / "ledger_work.py"
    return subprocess.Popen(
        [sys.executable, script, folder, locking, *map(str, arguments)],
        env={**os.environ, **storage.environment(**faults)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_sound(folder, locking):
    if locking == "fcntl":
        assert_sound(folder)
    with Ledger.open(folder) as ledger:
        worker = register(ledger)
        dead = [worker.id for worker in ledger.workers("run")]
        while isinstance(draw := ask(ledger, worker, max_trials=6, max_attempts=9, dead=dead), Claim):
            finish(ledger, draw, metric=1.0)
        trials = list(ledger.trials())
        assert {trial.state for trial in trials} == {TrialState.FINISHED}
        assert trials[0].metric == 10.0
        return [trial.metric for trial in trials]


def at_each_call(ledger, tmp_path, locking, fault, before=lambda folder: None):
    """One trial on a copy of the ledger, for each call at which something befalls the process."""
    ledger.close()
    copies = tmp_path / "copies"
    copies.mkdir()
    storage = FaultyStorage(copies, tmp_path / "control")
    with Forks(storage, locking, "one_trial") as forks:
        for at in range(1, 500):
            folder = copies / str(at)
            shutil.copytree(ledger.folder, folder)
            before(folder)
            getattr(storage, fault)(at)
            forks.start(folder)
            yield folder, forks
            storage.heal()
            shutil.rmtree(folder)


def test_a_process_that_is_killed_at_any_call(ledger, tmp_path, locking):
    n_killed = 0
    for folder, forks in at_each_call(ledger, tmp_path, locking, "kill_at"):
        acknowledged, what, code = forks.told()
        assert what == "ended"
        assert code in (0, -signal.SIGKILL)
        metrics = is_sound(folder, locking)
        if code == 0:
            assert acknowledged == ["1"]
            assert metrics.count(99.0) == 1
            break
        n_killed += 1
    assert n_killed > 20, "a trap that never snapped shows nothing"


def leave_a_lock_behind(folder):
    """As a process of another host does that dies."""
    lock = folder / FILE_NAME / "lock"
    lock.mkdir(exist_ok=True)
    (lock / "somebody").write_text("{}")


@pytest.mark.parametrize("locking", ["folder"], indirect=True)
@pytest.mark.parametrize("before", [lambda folder: None, leave_a_lock_behind], ids=["holds", "takes over"])
def test_whoever_is_stopped_at_any_call_with_the_lock_folder_is_fenced(
    ledger, tmp_path, locking, before, monkeypatch
):
    monkeypatch.setattr(lock_folder, "STALE_S", 0.1)
    n_stopped = 0
    for folder, forks in at_each_call(ledger, tmp_path, locking, "stop_at", before):
        acknowledged, what, number = forks.told()
        with Ledger.open(folder) as other:  # waits for the holder, and takes its lock over
            worker = register(other)
            for _ in range(2):
                finish(other, claimed(other, worker), metric=7.0)
        if was_stopped := what == "stopped":
            os.kill(number, signal.SIGCONT)
            rest, what, number = forks.told()
            acknowledged += rest
        assert (what, number) == ("ended", 0)
        assert len(acknowledged) == 1
        metrics = is_sound(folder, locking)
        assert (metrics.count(7.0), metrics.count(99.0)) == (2, 1)
        if not was_stopped:
            break
        n_stopped += 1
    assert n_stopped > 20


#: 2 s is what a bad day on a cluster looks like: 16 workers then need most of an hour.
DELAY_S = float(os.environ.get("DAHPS_STORAGE_DELAY_S", "0.01"))
TRIALS_EACH = int(os.environ.get("DAHPS_STORAGE_TRIALS", "2"))


def test_sixteen_workers_on_slow_storage_all_make_progress(storage, ledger, locking):
    ledger.close()
    before = storage.counts()
    storage.delay(DELAY_S, "write", "fsync")
    workers = [start(storage, ledger.folder, locking, "some_trials", TRIALS_EACH) for _ in range(16)]
    told = [worker.communicate() for worker in workers]
    storage.heal()
    assert [worker.returncode for worker in workers] == [0] * 16, told
    assert all("Waiting up to" not in complaints for _, complaints in told), "nobody is told of an error"
    numbers = [int(number) for said, _ in told for number in said.split()]
    assert sorted(numbers) == list(range(1, 16 * TRIALS_EACH + 1))
    slow = storage.counts() - before
    print(
        f"{DELAY_S} s for each of {slow['write']} writes and {slow['fsync']} fsyncs of {len(numbers)} trials"
    )
    with Ledger.open(ledger.folder) as ledger:
        assert ledger.counts()[TrialState.FINISHED] == 16 * TRIALS_EACH + 1


GONE = [errno.ENOENT, errno.EIO, errno.ESTALE, "unreadable", "locked"]


def take_away(storage, how):
    if how == "locked":
        storage.locks("refused")
    elif how == "unreadable":
        storage.fail(errno.EIO, "read")  # SQLite takes it for damage
    else:
        storage.fail(how)


@pytest.mark.parametrize("how", GONE, ids=lambda how: errno.errorcode.get(how, how))
@pytest.mark.parametrize("locking", ["fcntl"], indirect=True)
def test_a_worker_waits_for_storage_that_is_gone_and_then_records(storage, ledger, tmp_path, locking, how):
    with work_in_an_outage(storage, ledger, tmp_path, locking, how, 60) as (worker, log):
        if how != "locked":  # for locks it waits without a word, as it does every day
            wait_until(lambda: "Waiting up to" in log.read_text(), WAIT_S, "a word that it waits")
        assert worker.poll() is None
        storage.heal()
        assert worker.wait(WAIT_S) == 0, log.read_text()
    with Ledger.open(ledger.folder) as ledger:
        assert [(trial.metric, trial.attempts) for trial in ledger.trials()] == [(10, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize("how", GONE, ids=lambda how: errno.errorcode.get(how, how))
@pytest.mark.parametrize("locking", ["fcntl"], indirect=True)
def test_what_it_cannot_record_is_kept_beside_the_trial(storage, ledger, tmp_path, locking, how):
    with work_in_an_outage(storage, ledger, tmp_path, locking, how, 0.2) as (worker, log):
        assert worker.wait(WAIT_S) != 0
    assert "could not be recorded" in log.read_text()
    kept = unrecorded.read(tmp_path / "dahps-unrecorded.json")
    assert (kept.number, kept.outcome, kept.metric) == (1, "finished", 1.0)


@contextmanager
def work_in_an_outage(storage, ledger, tmp_path, locking, how, patience_s):
    """A worker with a trial that has ended, and a storage that is gone meanwhile."""
    ledger.close()
    log = tmp_path / "log"
    with log.open("w") as file:
        script = Path(__file__).parent / "ledger_work.py"
        command = [sys.executable, script, ledger.folder, locking, "work", str(patience_s)]
        environment = {**os.environ, **storage.environment()}
        worker = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
    with worker:
        wait_until(lambda: "started 1" in log.read_text(), WAIT_S, "a running trial")
        take_away(storage, how)
        (tmp_path / "go on").touch()
        yield worker, log
        storage.heal()


@pytest.mark.parametrize(
    ("error", "kinds", "words"),
    [
        (errno.ENOSPC, ["write"], ["No space left", "Free some space"]),
        (errno.EDQUOT, ["write"], ["quota exceeded", "quota raised"]),
        (errno.EROFS, ["create", "write"], ["Read-only", "mounted read-only"]),
        (errno.EIO, ["fsync"], ["Input/output error", "reachable"]),
    ],
    ids=lambda value: errno.errorcode.get(value, "") if isinstance(value, int) else "",
)
def test_what_the_storage_refuses_is_told_with_the_path_and_the_way_out(
    storage, ledger, tmp_path, locking, error, kinds, words
):
    ledger.close()
    storage.fail(error, *kinds)
    process = start(storage, ledger.folder, locking, "some_trials_at_once", 1)
    _, complaints = process.communicate(timeout=WAIT_S)
    assert process.returncode != 0
    told = complaints.splitlines()[-1]
    assert str(ledger.folder) in told
    assert all(word in told for word in (*words, "what is recorded stays")), told
    storage.heal()
    assert is_sound(ledger.folder, locking)[0] == 10.0
