"""An app that trains in steps, saves each, goes on where it was, and writes down all that it does."""

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import hydra
from omegaconf import DictConfig

from dahps_core import current_trial


@hydra.main(version_base="1.3", config_path="conf", config_name="checkpointing")
def main(config: DictConfig) -> int:
    if not config.spawn:
        return train(config)
    from tests.apps import checkpointing  # in a job, __main__ is the launcher's: nothing of it can be spawned

    process = multiprocessing.get_context("spawn").Process(target=checkpointing.train, args=(config,))
    process.start()
    process.join()
    step, total = json.loads(Path(config.checkpoint_dir, "state.json").read_text())
    if step < config.n_steps:
        sys.exit(f"the spawned process ended with {process.exitcode} after {step} steps")
    return total


def train(config: DictConfig) -> int:
    checkpoint = Path(config.checkpoint_dir, "state.json")
    step, total = json.loads(checkpoint.read_text()) if checkpoint.exists() else (0, 0)
    note(config, "start", step)
    while step < config.n_steps:
        time.sleep(config.step_s)
        step, total = step + 1, trained(total, config.x)
        save(checkpoint, [step, total])
        note(config, "step", step)
        leave_if_told(config, step)
    note(config, "end", step)
    return total


def leave_if_told(config: DictConfig, step: int) -> None:
    """Every other trial listens; the rest is killed at the end of the grace period."""
    trial = current_trial()
    if config.x % 2 and step < config.n_steps and trial and trial.preempted:
        note(config, "leave", step)
        sys.exit()


def trained(total: int, x: int) -> int:
    """One step; the order and the number of all steps can be told from the last total."""
    return (31 * total + x + 1) % 1_000_003


def save(checkpoint: Path, state: list[int]) -> None:
    new = checkpoint.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(state))
    new.replace(checkpoint)


def note(config: DictConfig, what: str, step: int) -> None:
    event = {
        "at": time.monotonic(),
        "what": what,
        "number": config.number,
        "attempt": config.attempt,
        "step": step,
        "pid": parent.pid if (parent := multiprocessing.parent_process()) and config.spawn else os.getpid(),
        "node": os.environ.get("SLURMD_NODENAME"),
    }
    with open(config.record, "a") as record:  # one small write to a file opened for appending: atomic
        record.write(json.dumps(event) + "\n")


if __name__ == "__main__":
    main()
