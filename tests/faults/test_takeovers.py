"""Takeovers of a lock folder that meet an error, or a Ctrl-C: the next process completes them."""

import errno
import os
import shutil
import signal
from contextlib import closing

import ledger_work
import pytest
from ledger_support import claimed, finish, register

from dahps_core.ledger import FILE_NAME, Ledger
from dahps_core.ledger.repair.rebuild import rebuild
from dahps_core.ledger.sqlite import lock_epochs
from dahps_core.ledger.sqlite.database import Database
from dahps_core.model.records import TrialState
from tests.faults.forks import Forks
from tests.faults.storage import MUTATING, FaultyStorage

#: At each such call the takeover meets its fault.
STRUCK = (*MUTATING, "open", "read")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "a ledger"
    with Ledger.join(folder, ledger_work.SEARCH, locking="folder") as ledger:
        finish(ledger, claimed(ledger, register(ledger)), metric=10.0)
    return folder


def count(folder):
    """Add one as the next user of a ledger does, and return the sum."""
    with closing(
        Database(folder / FILE_NAME, patience_s=ledger_work.PATIENCE_S, locking="folder")
    ) as database:
        database.write(ledger_work.one_more)
        return database.read(ledger_work.the_count)


def strike(storage, fault, at):
    if fault == "Ctrl-C":
        storage.interrupt_at(at, *STRUCK)
    else:
        storage.fail_at(at, *STRUCK, error=fault)


def abandon(lock):
    """As a takeover that met an error leaves the lock of its holder, who works on."""
    (holder,) = lock.iterdir()
    holder.rename(lock / "abandoned")


@pytest.mark.parametrize(
    ("action", "fault"),
    [("count_up", errno.ENOSPC), ("read_the_count", "Ctrl-C")],
    ids=["a writer that meets ENOSPC", "a reader that is interrupted"],
)
def test_a_fault_at_any_call_of_a_takeover_is_made_good_by_the_next(folder, tmp_path, action, fault):
    """The holder that is taken over is stopped just before its journal is removed, and goes on last."""
    copies = tmp_path / "copies"
    copies.mkdir()
    of_holder, of_heir = (FaultyStorage(copies, tmp_path / name) for name in ("holder", "heir"))
    n_faults = 0
    with Forks(of_holder, "folder", "count_up") as holders, Forks(of_heir, "folder", action) as heirs:
        for at in range(1, 500):
            copy = copies / str(at)
            shutil.copytree(folder, copy)
            of_holder.stop_at(1, "unlink")
            holders.start(copy)
            _, what, holder = holders.told()
            assert what == "stopped"
            abandon(copy / FILE_NAME / "lock")
            strike(of_heir, fault, at)
            heirs.start(copy)
            said, _, code = heirs.told()
            passed = of_heir.passed
            of_heir.heal()
            n_by_heir = count(copy) - 1
            assert n_by_heir == (said == ["counted"]) or (action == "count_up" and said == [])
            os.kill(holder, signal.SIGCONT)
            assert holders.told() == (["counted"], "ended", 0)
            assert count(copy) == n_by_heir + 3, f"fault at call {at}"
            shutil.rmtree(copy)
            if passed < at:
                assert (said, code) in ((["counted"], 0), (["0"], 0))
                break
            n_faults += code != 0
    assert n_faults > 20, "a fault that nobody noticed shows nothing"


def test_a_ledger_that_an_older_version_left_between_two_epochs_is_used_again(folder):
    lock_epochs.fence(folder / FILE_NAME / "epoch-1")
    assert count(folder) == 1
    assert sorted(path.name for path in (folder / FILE_NAME).iterdir()) == ["epoch-2", "lock"]
    with Ledger.open(folder) as ledger:
        assert ledger.best().metric == 10.0


def test_a_rebuilt_ledger_has_nothing_of_a_write_that_a_takeover_cut_off(folder, tmp_path):
    storage = FaultyStorage(folder, tmp_path / "control")
    with Forks(storage, "folder", "one_trial") as forks:
        storage.kill_at(6, "unlink")  # of the journal that would make the finish count
        forks.start(folder)
        assert forks.told() == ([], "ended", -signal.SIGKILL)
    lock_epochs.fence(folder / FILE_NAME / "epoch-1")
    rebuild(folder, tmp_path / "new")
    with Ledger.open(tmp_path / "new") as ledger:
        assert [trial.state for trial in ledger.trials()] == [TrialState.FINISHED, TrialState.LOST]
