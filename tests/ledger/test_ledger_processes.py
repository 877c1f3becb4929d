"""Real processes and real signals on one ledger."""

import fcntl
import math
import multiprocessing
import os
import signal
import sqlite3
import threading
from contextlib import contextmanager

import ledger_processes
import pytest
from ledger_processes import open_the_gate, switch_off_locks
from ledger_support import ask, assert_sound, claimed, finish, grid, record, register, sql

from dahps_core.errors import LedgerUnavailableError
from dahps_core.ledger import Ledger, Search
from dahps_core.ledger.sqlite import write_queue
from dahps_core.model.records import Claim, TrialState
from dahps_core.space import SearchSpace
from tests.support import state_of, wait_until

#: More trials than the processes get through, in two small levels that each process has read at once.
LEVELS = {
    "key": "x",
    "values": [*range(200)],
    "default": {"key": "y", "values": [*range(200)], "default": None},
}
MANY = Search(SearchSpace.from_config({"root": LEVELS}), strategy="grid")
WAIT_S = 60


@pytest.fixture(scope="module")
def processes():
    """Children of a server that imported the ledger once, and has no threads of ours."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ledger_processes"])
    return context


@contextmanager
def running(context, target, arguments):
    """One process for each tuple of arguments; all have ended afterwards."""
    children = [context.Process(target=target, args=each) for each in arguments]
    for child in children:
        child.start()
    try:
        yield children
    finally:
        for child in children:
            child.join(WAIT_S)
            if child.is_alive():
                child.kill()
                child.join()


def race(context, folder, n_processes, n_trials=math.inf, duration_s=WAIT_S, sabotage=()):
    """Processes that claim and finish at once; returns the numbers that each finished, and all errors."""
    barrier, results = context.Barrier(n_processes), context.Queue()
    course = context.Array("d", [n_processes, math.inf])
    Ledger.join(folder, MANY).close()
    arguments = [(folder, MANY, barrier, course, n_trials, duration_s, sabotage, results)] * n_processes
    with running(context, ledger_processes.race, arguments):
        told = [results.get(timeout=WAIT_S) for _ in range(n_processes)]
    return [numbers for numbers, _ in told], [error for _, error in told if error]


def assert_each_trial_once(folder, numbers_by_process, errors):
    """What locking is for: no error, no trial twice, none missing, a sound file that agrees."""
    assert not errors
    numbers = sorted(number for numbers in numbers_by_process for number in numbers)
    assert numbers == list(range(len(numbers)))
    assert_sound(folder)
    with Ledger.open(folder) as ledger:
        assert [trial.metric for trial in ledger.trials()] == [float(number) for number in numbers]
    assert sql(folder, "SELECT count(DISTINCT digest) FROM trial") == [(len(numbers),)]


@pytest.mark.parametrize(("n_processes", "n_trials"), [(2, 400), (8, 400), (32, 640), (64, 960)])
def test_as_fast_as_they_can_no_trial_twice_none_missing_nobody_starved(
    processes, folder, n_processes, n_trials
):
    numbers, errors = race(processes, folder, n_processes, n_trials)
    assert_each_trial_once(folder, numbers, errors)
    assert all(numbers)
    # On a busy machine some begin late, and come late for their turns: it is counted when all are there, and
    # a quarter of a share is enough. Without the gate some get all, and others nothing.
    begun = max(each[0] for each in numbers)
    shares = [sum(number >= begun for number in each) for each in numbers]
    assert min(shares) >= sum(shares) / n_processes / 4, sorted(shares)


NO_LOCKS = (open_the_gate, switch_off_locks)


def test_the_same_check_fails_when_locking_is_switched_off(processes, folder):
    numbers, errors = race(processes, folder, 8, duration_s=2, sabotage=NO_LOCKS)
    with pytest.raises((AssertionError, LedgerUnavailableError)):
        assert_each_trial_once(folder, numbers, errors)


def test_and_it_is_the_number_of_processes_that_makes_it_fail(processes, folder):
    numbers, errors = race(processes, folder, 1, duration_s=0.5, sabotage=NO_LOCKS)
    assert_each_trial_once(folder, numbers, errors)


def test_a_gate_that_lets_everybody_pass_is_as_safe(processes, folder):
    numbers, errors = race(processes, folder, 8, duration_s=2, sabotage=(open_the_gate,))
    assert_each_trial_once(folder, numbers, errors)


def test_sixteen_processes_make_one_ledger(processes, folder):
    barrier, results = processes.Barrier(16), processes.Queue()
    search = Search(grid("a", "b").space)
    with running(processes, ledger_processes.join, [(folder, search, barrier, results)] * 16):
        seeds = {results.get(timeout=WAIT_S) for _ in range(16)}
    assert len(seeds) == 1
    assert sql(folder, "SELECT count(*) FROM meta") == [(1,)]
    assert sql(folder, "SELECT count(*) FROM space") == [(1,)]
    assert_sound(folder)


def test_a_full_disk_is_told_and_nothing_recorded_is_lost(processes, folder):
    results = processes.Queue()
    with running(processes, ledger_processes.fill_the_disk, [(folder, MANY, results)]):
        error, acknowledged, kept = results.get(timeout=WAIT_S)
    assert error.startswith("LedgerUnavailableError")
    assert set(acknowledged) <= set(kept)
    assert_sound(folder)


@pytest.fixture
def stopped(processes, folder):
    """A process that is stopped (not killed) inside its transaction, at the gate and with SQLite's lock."""
    search = grid("a", "b")
    child = processes.Process(target=ledger_processes.stop_inside_a_transaction, args=(folder, search))
    child.start()
    wait_until(lambda: state_of(child.pid) == "T", WAIT_S, "the stop")
    yield child
    child.kill()
    child.join()


@pytest.fixture
def impatient_gate(monkeypatch):
    monkeypatch.setattr(write_queue, "PATIENCE_S", 0.05)


def test_a_stopped_process_is_waited_for_and_then_told_about(stopped, folder, impatient_gate):
    with pytest.raises(LedgerUnavailableError, match=r"locked for longer than 0\.1 s"):
        Ledger.join(folder, grid("a", "b"), patience_s=0.1)


def test_a_killed_process_leaves_the_ledger_usable_at_once(stopped, folder):
    stopped.kill()
    with Ledger.join(folder, grid("a", "b")) as ledger:
        assert claimed(ledger, register(ledger)).number == 0


def test_a_stopped_process_that_goes_on_has_its_claim(stopped, folder):
    os.kill(stopped.pid, signal.SIGCONT)
    with Ledger.join(folder, grid("a", "b")) as ledger:
        assert claimed(ledger, register(ledger)).number == 1
        assert record(ledger, 0).state is TrialState.RUNNING


def hold_the_gate(path, held, let_go):
    with open(path, "w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        held.set()
        let_go.wait(WAIT_S)


def test_a_gate_that_nobody_opens_costs_time_only(processes, ledger, impatient_gate):
    held, let_go, path = processes.Event(), processes.Event(), ledger.folder / "ledger.gate"
    with running(processes, hold_the_gate, [(path, held, let_go)]) as (holder,):
        assert held.wait(WAIT_S)
        worker = register(ledger)
        finish(ledger, claimed(ledger, worker))
        assert isinstance(ask(ledger, worker), Claim)
        let_go.set()
        holder.join(WAIT_S)
        queue = next((thread for thread in threading.enumerate() if thread.name == "gate"), None)
        if queue is not None:
            queue.join(WAIT_S)
    # Whoever queued in vain does not keep the gate that it got in the end.
    with running(processes, hold_the_gate, [(path, held := processes.Event(), let_go)]):
        assert held.wait(WAIT_S)


@pytest.fixture
def no_more_threads():
    """As at the end of the interpreter, where atexit's functions run."""
    before = threading.stack_size(2**46)
    yield
    threading.stack_size(before)


def test_who_can_start_no_thread_to_queue_writes_without(processes, ledger, no_more_threads):
    held, let_go, path = processes.Event(), processes.Event(), ledger.folder / "ledger.gate"
    with running(processes, hold_the_gate, [(path, held, let_go)]):
        assert held.wait(WAIT_S)
        finish(ledger, claimed(ledger, register(ledger)))
        let_go.set()


def test_a_commit_waits_for_readers_and_is_not_undone(ledger, folder):
    worker = register(ledger)
    reader = sqlite3.connect(folder / "ledger.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM meta").fetchall()
    claims = []
    writer = threading.Thread(target=lambda: claims.append(claimed(ledger, worker)), daemon=True)
    journal = folder / "ledger.db-journal"
    before = journal.read_bytes()
    writer.start()
    wait_until(lambda: journal.read_bytes() != before, WAIT_S, "the begin of a write", pause_s=0.001)
    assert reader.execute("SELECT count(*) FROM trial").fetchone() == (0,)
    reader.execute("COMMIT")
    reader.close()
    writer.join(WAIT_S)
    assert [claim.number for claim in claims] == [0]


def test_threads_may_share_a_ledger(ledger):
    numbers = []

    def work():
        claim = claimed(ledger, register(ledger))
        finish(ledger, claim)
        numbers.append(claim.number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert sorted(numbers) == [0, 1, 2, 3]
