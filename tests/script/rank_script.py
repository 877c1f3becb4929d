"""A training script of several ranks: FOLDER OPTIONS; what happens in a trial, its combination says.

FOLDER is for the ledger and for what the ranks tell; OPTIONS are those of `from_config`, as JSON, with the
`behaviours` that the search is over: WHAT, WHAT@RANK or WHAT@RANK#ATTEMPT, which that rank does at that
attempt, in the middle of its training.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed import checkpoint

from dahps_core import DistributedAsynchronousGridSearch
from tests.support import wait_until

N_STEPS = 6


def note(what, **facts):
    """One small write to a file opened for appending: atomic."""
    facts |= {"rank": dist.get_rank(), "pid": os.getpid(), "node": os.environ.get("SLURMD_NODENAME")}
    with (FOLDER / "notes.jsonl").open("a") as notes:
        notes.write(json.dumps({"what": what, **facts}) + "\n")


def misbehave(trial):
    what, _, whom = str(trial.combination["behaviour"]).partition("@")
    rank, _, attempt = whom.partition("#")
    if (not rank or int(rank) == dist.get_rank()) and (not attempt or int(attempt) == trial.attempt):
        globals().get(what, train_on)(trial)


def train_on(trial):
    pass


def fail(trial):
    raise ValueError(f"the loss of rank {dist.get_rank()} is gone")


def be_killed(trial):
    os.kill(os.getpid(), signal.SIGKILL)


def wait(trial):
    """To be told to end, or to go on; the ranks agree on it."""
    note("waits", number=trial.number)
    wait_until(lambda: trial.preempted or (FOLDER / "go on").exists(), 120, "a word")
    if trial.preempted:
        note("leaves", number=trial.number)
        raise SystemExit


def stay_away(trial):
    note("waits", number=trial.number)
    while True:
        signal.pause()


def freeze(trial):
    note("waits", number=trial.number)
    os.kill(os.getpid(), signal.SIGSTOP)


def save_together(trial):
    """Each rank saves its own part, and fails; at the next attempt each finds it."""
    name, folder = f"of rank {dist.get_rank()}", trial.checkpoint_dir / "by all ranks"
    if trial.attempt == 1:
        checkpoint.save({name: torch.full((3,), 10.0 + dist.get_rank())}, checkpoint_id=folder)
        raise ValueError("after the checkpoint")
    state = {name: torch.zeros(3)}
    checkpoint.load(state, checkpoint_id=folder)
    note("finds", values=state[name].tolist())


def train(search, trial):
    """The steps that are done are in the checkpoint, with the attempts that did them."""
    state = search.load_checkpoint() or {"steps": []}
    first = len(state["steps"])
    note("starts", number=trial.number, attempt=trial.attempt, step=first)
    for step in range(first, N_STEPS):
        total = torch.tensor([2.0 ** dist.get_rank()])
        dist.all_reduce(total)
        state["steps"].append(trial.attempt)
        trial.report(total.item() + step, step)
        trial.save_checkpoint(state)
        dist.barrier()
        if step == max(first, N_STEPS // 2):
            misbehave(trial)
    return total.item()


def join_the_others():
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    else:
        address = f"tcp://127.0.0.1:{OPTIONS.pop('port')}"
        rank, size = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_STEP_NUM_TASKS"])
        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=size)


def main():
    config = {"root": {"key": "behaviour", "values": BEHAVIOURS, "cases": {}, "default": None}}
    join_the_others()
    search = DistributedAsynchronousGridSearch.from_config(
        FOLDER / "ledger", config, heartbeat=0.5, lease=3, grace=2, **OPTIONS
    )
    for trial in search:
        search.finish_combination(train(search, trial))
    note("ends")
    dist.destroy_process_group()


if __name__ == "__main__":
    FOLDER, OPTIONS = Path(sys.argv[1]), json.loads(sys.argv[2])
    BEHAVIOURS = OPTIONS.pop("behaviours")
    main()
