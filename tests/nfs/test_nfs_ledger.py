"""The ledger on a real NFS, used by two kernels that may die, vanish and come back."""

import os
import random
import signal
import time

import pytest

from tests.nfs.ledger_in_guests import WAIT_S
from tests.support import wait_until

pytestmark = pytest.mark.nfs

IS_LONG = os.environ.get("DAHPS_NFS_LONG") == "1"
N_EACH, N_FINISHES, N_CRASHES = (6, 100, 5) if IS_LONG else (2, 15, 1)


def end(workers):
    for worker in workers:
        worker.process.signal(signal.SIGTERM)
    for worker in workers:
        worker.ends_well()


def has_lease(server, client):
    """Whether the server still keeps a client's locks for it, come what may."""
    # One that ends while it is read is no error.
    lines = server.run(["sh", "-c", "cat /proc/fs/nfsd/clients/*/info 2>/dev/null; true"])
    states = [line.split(": ")[1] for line in lines if line.startswith("status: ")]
    names = [line.rpartition(" ")[2].rstrip('"') for line in lines if line.startswith("name: ")]
    return dict(zip(names, states, strict=True)).get(client.name) == "confirmed"


def lose_lease(lab, client):
    """Unplug a client until its lease is over."""
    client.unplug()
    wait_until(lambda: not has_lease(lab.server, client), WAIT_S, "the end of the lease")


def contend(ledger, *arguments, clients=(0, 1)):
    """All claim and finish as fast as they can."""
    workers = ledger.start_hurried(N_EACH, *arguments, clients=clients)
    for worker in workers:
        worker.wait_for_finishes(N_FINISHES)
    end(workers)
    return ledger.assert_nothing_is_wrong()


def hurried_until_a_random_moment(ledger, seed):
    """Workers of both clients in the middle of what they do."""
    workers = ledger.start_hurried(2)
    for worker in workers:
        worker.wait_for_finishes(2)
    time.sleep(random.Random(seed).uniform(0, 0.5))  # nothing is awaited: the moment is to be random
    return workers


def kernels(trials):
    return {trial["worker"].split(":")[0] for trial in trials.values()}


def test_two_kernels_contend_no_trial_twice_none_missing(ledger):
    trials = contend(ledger)
    assert len(trials) >= 2 * N_EACH * N_FINISHES
    assert kernels(trials) == {"client1", "client2"}


def test_a_ledger_that_is_locked_by_a_folder_holds_as_well(ledger):
    assert kernels(contend(ledger, "folder")) == {"client1", "client2"}


def test_the_same_check_fails_where_locks_hold_in_one_kernel_only(ledger_without_shared_locks):
    with pytest.raises(AssertionError):
        contend(ledger_without_shared_locks)


def test_and_it_is_the_second_kernel_that_makes_it_fail(ledger_without_shared_locks):
    contend(ledger_without_shared_locks, clients=[0])


def test_the_trial_of_a_killed_worker_is_served_in_the_other_kernel(ledger):
    n_trials = "60" if IS_LONG else "15"
    victim = ledger.start(0, "work", n_trials, "hang")
    number = victim.wait_for("began")
    others = [ledger.start(client, "work", n_trials, "go on") for client in (0, 1, 1)]
    others[-1].wait_for_finishes(1)
    victim.process.kill()
    for worker in others:
        worker.ends_well()
    trials = ledger.assert_nothing_is_wrong()
    assert len(trials) == int(n_trials)
    assert {trial["state"] for trial in trials.values()} == {"finished"}
    assert [trial["attempts"] for trial in trials.values()].count(2) == 1
    assert trials[number]["attempts"] == 2


@pytest.mark.parametrize("crash", range(N_CRASHES))
def test_a_kernel_dies_at_any_moment_and_nothing_acknowledged_is_lost(ledger, lab, crash):
    workers = hurried_until_a_random_moment(ledger, crash)
    lab.clients[0].crash()
    survivors = workers[1::2]
    for worker in survivors:
        worker.wait_for_finishes(5)
    end(survivors)
    ledger.assert_nothing_is_wrong()


def test_a_kernel_dies_while_only_its_journal_can_mend_the_file(ledger, lab):
    workers = ledger.start_hurried(2)
    for worker in workers:
        worker.wait_for_finishes(10)
    ledger.start(0, "overwrite").wait_for("inside")
    lab.clients[0].crash()
    start = time.monotonic()
    copy = ledger.copy_without_journal()
    survivors = workers[1::2]
    for worker in survivors:
        worker.wait_for_finishes(1)
    print(f"{time.monotonic() - start:.1f} seconds until the other kernel wrote")
    end(survivors)
    ledger.assert_nothing_is_wrong()
    # The copy shows that there was something to be corrected.
    assert ledger.look(name=copy)[0]["changes"] == 1


def test_a_client_that_lost_its_lease_cannot_write_what_another_was_given(ledger, lab):
    zombie = ledger.start(0, "hold")
    number = zombie.wait_for("holds")
    other = ledger.start(1, "work", "1", "go on")
    lose_lease(lab, lab.clients[0])
    other.ends_well()
    lab.clients[0].replug()
    zombie.process.signal(signal.SIGUSR1)
    assert zombie.wait_for("refused") == number
    zombie.ends_well()
    trials = ledger.assert_nothing_is_wrong(client=0)
    assert trials[number]["attempts"] == 2
    assert trials[number]["worker"].startswith("client2")
    assert len(trials) == 2


def test_a_client_that_lost_its_lease_within_a_transaction_cannot_commit_it(ledger, lab):
    (first, other) = ledger.start_hurried(1)
    for worker in (first, other):
        worker.wait_for_finishes(10)
    end([first])
    zombie = ledger.start(0, "overwrite")
    zombie.wait_for("inside")
    start = time.monotonic()
    lose_lease(lab, lab.clients[0])
    other.wait_for_finishes(5)
    print(f"{time.monotonic() - start:.1f} seconds until the other kernel wrote")
    lab.clients[0].replug()
    zombie.process.signal(signal.SIGUSR1)
    zombie.wait_for("refused")
    zombie.ends_well()
    other.wait_for_finishes(5)
    end([other])
    ledger.assert_nothing_is_wrong(client=0)


@pytest.mark.parametrize("restart", range(N_CRASHES))
def test_the_server_restarts_and_the_workers_wait_and_go_on(ledger, lab, restart):
    workers = hurried_until_a_random_moment(ledger, restart)
    lab.server.restart()
    start = time.monotonic()
    for worker in workers:
        worker.wait_for_finishes(3)
    print(f"{time.monotonic() - start:.1f} seconds until all had gone on")
    end(workers)
    ledger.assert_nothing_is_wrong()
