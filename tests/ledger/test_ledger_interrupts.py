"""A Ctrl-C at any moment: the worker that leaves can still give back what it holds."""

import multiprocessing
import signal

import pytest
from ledger_support import claimed, ending_of, grid, register
from trap import set_trap

from dahps_core.ledger import Ledger
from dahps_core.model.records import TrialState

WAIT_S = 60


def be_interrupted(folder, locking, at, told):
    """Tells whether the interrupt came before the claim was over."""
    ledger = Ledger.join(folder, grid(*"abcd"), locking=locking, patience_s=5.0)
    worker = register(ledger)
    held = claimed(ledger, worker)
    set_trap(at, signal.SIGINT)
    try:
        claimed(ledger, worker, after=ending_of(held))
        told.send(False)
    except KeyboardInterrupt:
        ledger.retire(worker)
        told.send(True)


@pytest.mark.parametrize("locking", ["fcntl", "folder"])
def test_a_worker_that_is_interrupted_at_any_step_retires(folder, locking):
    context = multiprocessing.get_context("fork")
    for at in range(1, 100):
        heard, told = context.Pipe(duplex=False)
        worker = context.Process(target=be_interrupted, args=(folder / str(at), locking, at, told))
        worker.start()
        worker.join(WAIT_S)
        assert worker.exitcode == 0, f"at step {at}"
        if not heard.recv():
            break
        with Ledger.open(folder / str(at)) as ledger:
            assert ledger.counts()[TrialState.RUNNING] == 0
    assert at > 10, "a trap that never snapped shows nothing"
