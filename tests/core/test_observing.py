"""How many heartbeats of others a worker opens while it gets no trial."""

import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial

import pytest

from dahps_core.environment.batch_job import BatchJob
from dahps_core.ledger import Ledger
from dahps_core.ledger.folder import heartbeat
from dahps_core.ledger.folder.heartbeat import Heart
from dahps_core.model.records import Draw
from dahps_core.process.shutdown import Interruption
from dahps_core.worker import session
from dahps_core.worker.options import WorkerOptions
from dahps_core.worker.session import Claims
from tests.ledger.ledger_support import claimed, grid, register

OPTIONS = WorkerOptions(None, 3, None, heartbeat_s=100.0, lease_s=200.0, isolate=False)
N_WORKERS = 50


@pytest.fixture
def ledger(tmp_path):
    with Ledger.join(tmp_path / "ledger", grid(*range(N_WORKERS))) as ledger:
        yield ledger


@pytest.fixture
def opened(monkeypatch):
    """The heartbeat files that were opened."""
    opened = []
    look = heartbeat.fresh_stamp

    def note(path):
        opened.append(path)
        return look(path)

    monkeypatch.setattr(heartbeat, "fresh_stamp", note)
    return opened


@pytest.fixture
def workers(ledger):
    with ExitStack() as stack:

        def enter(once):
            own = stack.enter_context(Ledger.open(ledger.folder))
            interruption = stack.enter_context(closing(Interruption()))
            look = partial(interruption.request, "it has waited once") if once else lambda: None
            return stack.enter_context(Claims(own, "run", OPTIONS, interruption, BatchJob(), look=look))

        yield lambda count, once=True: [enter(once) for _ in range(count)]


def test_paused_workers_open_no_heartbeats(ledger, opened, workers):
    ledger.pause()
    assert {worker.next() for worker in workers(N_WORKERS)} == {Draw.STOPPED}
    assert ledger.worker_counts()["waiting"] == N_WORKERS
    assert len(opened) <= N_WORKERS


def test_a_worker_that_waits_opens_a_bounded_number_of_heartbeats(ledger, opened, workers, monkeypatch):
    monkeypatch.setattr(session, "OBSERVED_AT_ONCE", 5)
    for _ in range(N_WORKERS):
        claimed(ledger, register(ledger))
    (worker,) = workers(1)
    assert worker.next() is Draw.STOPPED
    assert len(opened) == 5


def test_a_dead_worker_among_more_than_one_look_takes_is_found(ledger, workers, monkeypatch):
    monkeypatch.setattr(session, "OBSERVED_AT_ONCE", 5)
    monkeypatch.setattr(sys.modules[__name__], "OPTIONS", replace(OPTIONS, heartbeat_s=0.1, lease_s=5.0))
    holders = [register(ledger) for _ in range(N_WORKERS)]
    held = [claimed(ledger, holder) for holder in holders]
    hearts = [Heart(ledger.folder, holder) for holder in holders]
    hearts.pop(17).beat()

    def beat(after_a_gap=False):
        for heart in hearts:
            heart.beat()

    beat()
    with hearts[0].beating(0.1, look=beat):
        (worker,) = workers(1, once=False)
        claim = worker.next(limit_s=120)
    assert claim.number == held[17].number
