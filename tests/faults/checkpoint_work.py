"""Kills at each call on the storage: `python checkpoint_work.py FOLDER`, as a `FaultyStorage` has it.

Prints how many processes were killed. Each is forked, since to load PyTorch takes seconds.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "ledger"))

import torch
from ledger_support import ask, claimed, grid, register

from dahps_core.ledger import Ledger
from dahps_core.ledger.repair.check import violations
from dahps_core.trial.current import Trial
from dahps_core.trial.history import History
from tests.faults.storage import MUTATING, FaultyStorage


def trial_of(ledger, claim):
    history = History(lambda reports: ledger.record_history(claim, reports))
    checkpoint_dir = ledger.checkpoint_dir(claim.number)
    return Trial(claim.number, claim.attempt, 0, claim.combination, checkpoint_dir, _history=history)


def take_a_step(trial, step):
    trial.report(1 / step, step)
    trial.save_checkpoint({"step": step, "weights": torch.full((50_000,), float(step))})


def step_in_a_process(folder, claim):
    """Its exit status."""
    if (pid := os.fork()) == 0:
        with Ledger.open(folder) as ledger:
            take_a_step(trial_of(ledger, claim), 2)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def examine(folder, worker):
    """One checkpoint is whole, it is in the history, and the next attempt goes on from there."""
    with Ledger.open(folder) as ledger:
        again = trial_of(ledger, claimed(ledger, register(ledger), max_trials=1, dead=[worker]))
        state = again.load_checkpoint()
        assert state["step"] in (1, 2)
        assert torch.equal(state["weights"], torch.full((50_000,), float(state["step"])))
        reported = [step for _, step, _ in ledger.history(0)]
        assert reported in ([1], [1, 2])
        assert state["step"] <= len(reported)
        take_a_step(again, state["step"] + 1)
        assert os.listdir(again.checkpoint_dir) == ["checkpoint.pt"], "what was left over is removed"
        assert again.load_checkpoint()["step"] == state["step"] + 1
        assert {step for _, step, _ in ledger.history(0)} == set(range(1, state["step"] + 2)) | set(reported)
    assert list(violations(folder)) == []


def main(folder):
    torch.set_num_threads(1)  # threads are not there in a forked child, which would wait for them
    storage = FaultyStorage.inherited()
    ledger = Ledger.join(folder / "ledger", grid("a"))
    worker = register(ledger)
    claim = ask(ledger, worker)
    take_a_step(trial_of(ledger, claim), 1)
    ledger.close()
    for at in range(1, 500):
        copy = shutil.copytree(ledger.folder, folder / str(at))
        storage.kill_at(at, *MUTATING)
        status = step_in_a_process(copy, claim)
        storage.heal()
        assert status in (0, -signal.SIGKILL)
        examine(copy, worker)
        shutil.rmtree(copy)
        if status == 0:
            print(at - 1)
            break


if __name__ == "__main__":
    main(Path(sys.argv[1]))
