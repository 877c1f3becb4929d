"""A worker that is started in another one's place: the trial that this one left comes before all others."""

import pytest

from dahps_core.ledger import Ledger
from tests.ledger.ledger_support import ask, claimed, fail, finish, grid, lose, register, release


@pytest.fixture
def ledger(tmp_path):
    with Ledger.join(tmp_path, grid("a", "b", "c", "d")) as ledger:
        yield ledger


@pytest.fixture
def left(ledger):
    """An earlier worker, which holds trial 1; trial 0 was released by another one."""
    other, worker = register(ledger), register(ledger)
    first = claimed(ledger, other)
    claim = claimed(ledger, worker)
    release(ledger, first)
    return worker, claim


@pytest.mark.parametrize("end", [release, fail, lose])
def test_what_it_left_is_first(ledger, left, end):
    before, claim = left
    end(ledger, claim)
    assert claimed(ledger, register(ledger), resume=before).number == 1


def test_what_it_held_when_it_died_is_first(ledger, left):
    before, _ = left
    assert claimed(ledger, register(ledger), resume=before, dead=[before]).number == 1


def test_what_others_have_found_lost_is_first(ledger, left):
    before, _ = left
    assert claimed(ledger, register(ledger), dead=[before]).number == 0
    assert claimed(ledger, register(ledger), resume=before).number == 1


def test_what_it_may_still_hold_is_not_taken(ledger, left):
    before, _ = left
    assert claimed(ledger, register(ledger), resume=before).number == 0


def test_what_it_finished_or_others_hold_is_not_run_again(ledger, left):
    before, claim = left
    finish(ledger, claim)
    assert claimed(ledger, register(ledger), resume=before).number == 0
    claim = claimed(ledger, before)
    fail(ledger, claim)
    assert claimed(ledger, register(ledger), resume=before).number == claim.number
    assert claimed(ledger, register(ledger), resume=before).number not in (0, 1, claim.number)


def test_its_attempts_are_limited_as_all_are(ledger, left):
    before, claim = left
    fail(ledger, claim)
    assert claimed(ledger, register(ledger), resume=before, max_attempts=1).number == 0


def test_a_person_s_word_comes_before_it(ledger, left):
    before, claim = left
    fail(ledger, claim)
    ledger.stop()
    assert ask(ledger, register(ledger), resume=before).value == "stopped"


def test_the_last_worker_of_a_batch_job_is_known(ledger):
    assert ledger.last_worker_of_batch("17") is None
    for run in ("one", "two"):
        ledger.register(run=run, host="host", pid=1, job="17", batch="17")
    ledger.register(run="three", host="host", pid=1, job="18", batch="18")
    found = ledger.last_worker_of_batch("17")
    assert (found.run, found.host, found.pid) == ("two", "host", 1)
    assert ledger.last_worker_of_batch(None) is None
