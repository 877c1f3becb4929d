"""The lock folder by itself: one holder at a time, whoever dies, and no harm by a wrong guess."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
import socket
import threading
from pathlib import Path

import pytest
from ledger_support import claimed, finish, grid, register
from trap import set_trap

from dahps_core.errors import LedgerUnavailableError, LockingChangedError
from dahps_core.ledger import FILE_NAME, Ledger
from dahps_core.ledger.sqlite import lock_epochs, lock_folder
from dahps_core.ledger.sqlite.backoff import Patience
from dahps_core.ledger.sqlite.lock_folder import LockFolder, LockTakenOver
from tests.support import state_of, wait_until

WAIT_S = 60


@pytest.fixture
def root(folder):
    folder.mkdir(parents=True)
    return folder / "lock root"


@pytest.fixture
def lock(root):
    return LockFolder(root, create=True)


def held(lock, patience_s=WAIT_S):
    return lock.held(Patience(patience_s))


def test_one_holder_at_a_time(root, lock):
    with held(lock) as first:
        with pytest.raises(LedgerUnavailableError, match=f'"pid": {os.getpid()}|{os.getpid()}'):
            held(LockFolder(root, create=False), patience_s=0.01).__enter__()
        first.confirm()
    with held(LockFolder(root, create=False)) as second:
        assert second.path == first.path
    assert list((root / "lock").iterdir()) == []
    assert sorted(path.name for path in root.iterdir()) == ["epoch-1", "lock"]


def test_what_has_been_there_is_never_made_anew(root, lock):
    with held(lock):
        pass
    shutil.rmtree(root)
    with pytest.raises(FileNotFoundError):
        held(lock).__enter__()
    assert not root.exists()


def count_under_the_lock(root, times):
    lock = LockFolder(root, create=True)
    for _ in range(times):
        with held(lock) as hold:
            counter = hold.path.with_name("counter")
            counter.write_text(str(int(counter.read_text()) + 1 if counter.exists() else 1))


def test_many_processes_count_under_it(root):
    context = multiprocessing.get_context("fork")
    counters = [context.Process(target=count_under_the_lock, args=(root, 50)) for _ in range(8)]
    for counter in counters:
        counter.start()
    for counter in counters:
        counter.join(WAIT_S)
    assert (root / "epoch-1" / "counter").read_text() == "400"


def be_killed_inside(lock):
    child = os.fork()
    if child == 0:
        with held(lock):
            os._exit(0)
    os.waitpid(child, 0)


def test_a_holder_of_this_host_that_was_killed_is_taken_over_at_once(root, lock):
    be_killed_inside(lock)
    with held(lock, patience_s=1) as hold:  # far less than it takes to hold another host's for dead
        assert hold.path.parent.name == "epoch-2"


def of_another_machine(host):
    return {"mark": "somebody", "host": host, "pid": 1, "boot": "b", "pids": "p", "started": "1"}


NAMESAKE = of_another_machine(socket.gethostname())


@pytest.mark.parametrize("told", [{}, of_another_machine("elsewhere"), NAMESAKE, "no JSON", ["a list"]])
def test_a_holder_of_another_host_is_given_its_time(root, lock, monkeypatch, told):
    with held(lock):
        pass
    (root / "lock" / "somebody").write_text(told if told == "no JSON" else json.dumps(told))
    with pytest.raises(LedgerUnavailableError, match="held by others"):
        held(lock, patience_s=0.05).__enter__()
    monkeypatch.setattr(lock_folder, "STALE_S", 0.1)
    with held(lock) as hold:
        assert hold.path.parent.name == "epoch-2"


def fail(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["fence", "fill"])
def test_a_takeover_that_meets_an_error_is_completed_at_once_by_the_next(root, lock, monkeypatch, step):
    be_killed_inside(lock)
    with monkeypatch.context() as context:
        context.setattr(lock_epochs, step, fail)
        with pytest.raises(OSError, match="No space"):
            held(lock).__enter__()
    with held(LockFolder(root, create=False), patience_s=1) as hold:
        assert hold.path.parent.name == "epoch-2"
    assert sorted(path.name for path in root.iterdir()) == ["epoch-2", "lock"]


def test_a_takeover_that_meets_an_error_is_completed_at_once_by_the_same_process(root, lock, monkeypatch):
    be_killed_inside(lock)
    with monkeypatch.context() as context:
        context.setattr(lock_folder, "_identity", lambda token: fail() if lock._is_heir else "{}")
        with pytest.raises(OSError, match="No space"):
            held(lock).__enter__()
    with held(lock, patience_s=1) as hold:
        assert hold.path.parent.name == "epoch-2"


def test_a_takeover_works_with_a_relative_path(root, lock, monkeypatch):
    be_killed_inside(lock)
    monkeypatch.chdir(root.parent)
    with held(LockFolder(Path(root.name), create=False)) as hold:
        assert hold.path.is_file()


def test_a_takeover_removes_what_killed_processes_left_long_ago_and_nothing_that_is_needed(root, lock):
    for _ in range(2):
        be_killed_inside(lock)
    copy = root / "epoch-1" / "ledger-schema3.db"
    copy.parent.mkdir(exist_ok=True)
    copy.touch()
    for name in ("prepared-old", "prepared-new"):
        (root / name).mkdir()
        (root / name / "token").touch()
    os.utime(root / "prepared-old", (0, 0))
    with held(lock) as hold:
        assert hold.path.parent.name == "epoch-3"
    assert not (root / "prepared-old").exists()
    assert list((root / "prepared-new").iterdir())
    assert sorted(path.name for path in root.glob("epoch-*")) == ["epoch-1", "epoch-3"]
    assert list((root / "epoch-1").iterdir()) == [copy]


def be_interrupted_in_a_takeover(root, at, told):
    """Tell whether the interrupt came before the lock was held, and then hold it all the same."""
    lock = LockFolder(root, create=False)
    set_trap(at, signal.SIGINT)
    try:
        with held(lock, patience_s=1):
            told.send(False)
    except KeyboardInterrupt:
        with held(lock, patience_s=1) as hold:
            told.send(hold.path.is_file())


def test_a_takeover_that_is_interrupted_at_any_step_is_completed_by_the_same_process(root):
    context = multiprocessing.get_context("fork")
    for at in range(1, 100):
        place = root.with_name(str(at))
        be_killed_inside(LockFolder(place, create=True))
        heard, told = context.Pipe(duplex=False)
        heir = context.Process(target=be_interrupted_in_a_takeover, args=(place, at, told))
        heir.start()
        heir.join(WAIT_S)
        assert heir.exitcode == 0, f"at step {at}"
        if not heard.recv():
            break
    assert at > 10, "a trap that never snapped shows nothing"


@pytest.fixture
def slow_heir(root, lock):
    """A process that took the lock over from one that was killed, and was stopped at that moment."""
    be_killed_inside(lock)
    heir = multiprocessing.get_context("fork").Process(target=take_over_slowly, args=(root,))
    heir.start()
    wait_until(lambda: state_of(heir.pid) == "T", WAIT_S, "the heir's stop")
    yield heir
    heir.kill()


def take_over_slowly(root):
    renamed = lock_folder._renamed

    def stop_when_renamed(path, name):
        is_done = renamed(path, name)
        if is_done and path.parent.name == "lock":
            os.kill(os.getpid(), signal.SIGSTOP)
        return is_done

    lock_folder._renamed = stop_when_renamed
    try:
        with held(LockFolder(root, create=False)):
            pass
    except LockTakenOver:
        os._exit(3)


def test_who_has_just_taken_over_is_not_held_for_the_one_that_was_killed(root, lock, slow_heir):
    with pytest.raises(LedgerUnavailableError, match="held by others"):
        held(lock, patience_s=0.2).__enter__()
    os.kill(slow_heir.pid, signal.SIGCONT)
    slow_heir.join(WAIT_S)
    assert slow_heir.exitcode == 0
    with held(lock) as hold:
        assert hold.path.parent.name == "epoch-2"


def test_who_is_taken_over_before_it_has_signed_does_not_come_back(lock, slow_heir, monkeypatch):
    monkeypatch.setattr(lock_folder, "STALE_S", 0.05)
    with held(lock) as hold:
        os.kill(slow_heir.pid, signal.SIGCONT)
        slow_heir.join(WAIT_S)
        assert slow_heir.exitcode == 3
        hold.confirm()
        assert hold.path.exists()


def test_a_holder_that_was_taken_over_is_told(root, lock, monkeypatch):
    monkeypatch.setattr(lock_folder, "STALE_S", 0.05)
    with held(lock) as first, held(LockFolder(root, create=False)) as second:
        with pytest.raises(LockTakenOver):
            first.confirm()
        second.confirm()
        assert not first.path.exists()
        with pytest.raises(OSError, match="directory"):
            Path(f"{first.path}-journal").write_text("")  # so that no transaction can begin there


def test_one_that_is_taken_over_before_it_has_looked_for_the_epoch_gets_none(root, lock, monkeypatch):
    with held(lock):
        pass
    monkeypatch.setattr(lock_folder, "STALE_S", 0.05)
    slow = LockFolder(root, create=False)
    look = slow._epoch_path

    def look_late(prepared):
        with held(lock):
            pass
        return look(prepared)

    monkeypatch.setattr(slow, "_epoch_path", look_late)
    with pytest.raises(LockTakenOver):
        held(slow).__enter__()


def test_the_two_ways_of_locking_cannot_be_mixed(folder):
    for made, other in (("fcntl", "folder"), ("folder", "fcntl")):
        place = folder / made
        Ledger.join(place, grid("a"), locking=made).close()
        with pytest.raises(LockingChangedError, match=f"locking={made}"):
            Ledger.join(place, grid("a"), locking=other)
        with Ledger.open(place) as ledger:
            finish(ledger, claimed(ledger, register(ledger)))
        assert (place / FILE_NAME).is_dir() == (made == "folder")


def test_threads_may_share_a_ledger_with_a_lock_folder(folder):
    with Ledger.join(folder, grid(*range(12)), locking="folder") as ledger:

        def work():
            worker = register(ledger)
            for _ in range(3):
                finish(ledger, claimed(ledger, worker))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        assert len(list(ledger.trials())) == 12
