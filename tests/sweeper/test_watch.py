"""What the sweeper sees of its workers, though it looks at no more than it has to."""

import time

import pytest

from dahps_core.ledger import Ledger, Search
from dahps_core.ledger.folder.heartbeat import Heart
from dahps_core.model.records import Ending
from dahps_core.space import SearchSpace
from dahps_core.worker.worker import WorkerOptions
from hydra_plugins.dahps_sweeper._watch import Watch
from tests.support import wait_until

SEARCH = Search(SearchSpace.from_config({"root": {"key": "x", "values": [1, 2, 3], "default": None}}))
LIMITS = {"max_trials": None, "max_attempts": 2, "stop_after_failures": 2}
OPTIONS = WorkerOptions(**LIMITS, heartbeat_s=0.02, lease_s=0.2, isolate=True)


@pytest.fixture(params=["fcntl", "folder"])
def ledger(request, tmp_path):
    with Ledger.join(tmp_path / "a ledger", SEARCH, locking=request.param) as ledger:
        yield ledger


@pytest.fixture
def watch(ledger):
    # As the sweeper does, with a ledger object of its own.
    with Ledger.open(ledger.folder) as seen:
        yield Watch(seen, "run", OPTIONS)


def register(ledger):
    return ledger.register(run="run", host="here", pid=0, job=None)


def fail(ledger, claim):
    ledger.end_if_held(Ending(claim.number, claim.attempt, claim.token, "failed", error="ValueError"))


def test_each_change_is_seen(ledger, watch):
    for left in (3, 2, 1, 0):
        assert watch.look()
        assert (watch.progress.n_left, watch.is_over) == (left, left == 0)
        if left:
            claim = ledger.claim(register(ledger), **LIMITS)
            ledger.end_if_held(
                Ending(claim.number, claim.attempt, claim.token, "finished", result=1.0, metric=1.0)
            )


def test_a_ledger_that_does_not_change_is_not_read_again_and_again(tmp_path):
    with Ledger.join(tmp_path, SEARCH) as ledger:
        watch = Watch(ledger, "run", OPTIONS)
        register(ledger)
        # The second time because a clock may tick slowly.
        assert [watch.look() for _ in range(5)] == [True, True, False, False, False]
        register(ledger)
        assert [watch.look() for _ in range(5)] == [True, True, False, False, False]


def test_a_multirun_that_only_fails_is_over(ledger, watch):
    worker = register(ledger)
    for _ in range(2):
        fail(ledger, ledger.claim(worker, **LIMITS))
    watch.look()
    assert watch.progress.n_left == 3
    assert watch.is_over


def test_a_multirun_that_a_person_stops_is_over(ledger, watch):
    ledger.enter_run("run", None)
    watch.look()
    assert not watch.is_over
    ledger.stop(run="run")
    watch.look()
    assert watch.is_over


def test_nobody_lives_before_the_first_worker_comes_and_after_the_last_has_left(ledger, watch):
    watch.look()
    assert not watch.any_alive()
    worker = register(ledger)
    watch.look()
    assert watch.any_alive()
    ledger.retire(worker)
    watch.look()
    assert not watch.any_alive()


def test_one_heart_that_beats_is_enough_whichever_it_is(ledger, watch):
    workers = sorted(register(ledger) for _ in range(3))
    watch.look()
    for worker in workers:  # the one that is looked at dies first
        heart = Heart(ledger.folder, worker)
        deadline = time.monotonic() + 3 * OPTIONS.lease_s
        while time.monotonic() < deadline:
            heart.beat()
            assert watch.any_alive()
            time.sleep(0.03)
    wait_until(lambda: not watch.any_alive(), 30, "the death of the last one")
