"""What processes run that a trial starts; importable by those that are spawned."""

import json
import os
import sys

from dahps_core import current_trial
from tests.support import wait_until


def facts():
    """What this process knows of its trial."""
    trial = current_trial()
    values = (
        trial.number,
        trial.attempt,
        trial.repetition,
        dict(trial.combination),
        trial.level,
        trial.resource,
    )
    return [*values, str(trial.checkpoint_dir)]


def report(step):
    current_trial().report(step / 8, step)
    return facts()


def save(step):
    current_trial().report(step / 8, step)
    current_trial().save_checkpoint({"step": step})


def resolved():
    from omegaconf import OmegaConf

    return OmegaConf.create({"number": "${dahps:number}"}).number


def until_preempted(path):
    """Say that this process runs, and wait for the word."""
    trial = current_trial()
    path.touch()
    wait_until(lambda: trial.preempted, 60, "the word to leave")


def until_it_should_stop():
    trial = current_trial()
    for step in range(9):
        if trial.should_stop:
            return step
        trial.report(1.0, step)
    return None


def as_rank(name, rank):
    os.environ[name] = rank
    report(int(rank))
    save(int(rank) + 10)


if __name__ == "__main__":
    print(json.dumps(report(int(sys.argv[1]))))
