"""The ledger on storage that is slow, gone, or lies; and processes that end in the middle of a write."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import ledger_work
import pytest
from ledger_support import ask, assert_sound, claimed, finish, register

from dahps_core.ledger import FILE_NAME, Ledger, lock_folder
from dahps_core.trial import Claim, TrialState
from tests.faults.storage import FaultyStorage
from tests.support import wait_until

WAIT_S = 120
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


def state_of(process):
    """T when it is stopped, Z when it has ended."""
    with open(f"/proc/{process.pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


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


def at_each_call(storage, ledger, tmp_path, locking, fault, before=lambda folder: None):
    """A process that does one trial, for each call at which something befalls it; until nothing does."""
    ledger.close()
    for at in range(1, 500):
        folder = tmp_path / str(at)
        shutil.copytree(ledger.folder, folder)
        before(folder)
        faulty = FaultyStorage(folder, tmp_path / "control")
        faulty.arm()
        process = start(faulty, folder, locking, "one_trial", **{fault: at})
        with process:
            yield folder, process
        shutil.rmtree(folder)
        faulty.heal()


def test_a_process_that_is_killed_at_any_call(storage, ledger, tmp_path, locking):
    n_killed = 0
    for folder, process in at_each_call(storage, ledger, tmp_path, locking, "kill_at"):
        said, complaints = process.communicate(timeout=WAIT_S)
        assert process.returncode in (0, -signal.SIGKILL), complaints
        metrics = is_sound(folder, locking)
        if process.returncode == 0:
            assert said.split() == ["1"]
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
    storage, ledger, tmp_path, locking, before, monkeypatch
):
    monkeypatch.setattr(lock_folder, "STALE_S", 0.1)
    n_stopped = 0
    for folder, process in at_each_call(storage, ledger, tmp_path, locking, "stop_at", before):
        wait_until(lambda: state_of(process) in "TZ", WAIT_S, "the call")  # noqa: B023 - called at once
        has_ended = state_of(process) == "Z"
        with Ledger.open(folder) as other:  # waits for the holder, and takes its lock over
            worker = register(other)
            for _ in range(2):
                finish(other, claimed(other, worker), metric=7.0)
        os.kill(process.pid, signal.SIGCONT)
        said, complaints = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0, complaints
        assert len(said.split()) == 1
        metrics = is_sound(folder, locking)
        assert (metrics.count(7.0), metrics.count(99.0)) == (2, 1)
        if has_ended:
            break
        n_stopped += 1
    assert n_stopped > 20
