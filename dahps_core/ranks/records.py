"""A trial as one rank tells it another: JSON's values alone."""

from __future__ import annotations

from pathlib import Path

from dahps_core.combination import Combination
from dahps_core.current import Trial
from dahps_core.ranks.channel import Message


def record_of(trial: Trial) -> Message:
    """What another rank needs to evaluate a trial as well."""
    return {
        "number": trial.number,
        "attempt": trial.attempt,
        "repetition": trial.repetition,
        "combination": dict(trial.combination),
        "checkpoint_dir": str(trial._checkpoint_dir),
        "level": trial.level,
        "resource": trial._resource,
    }


def trial_of(record: Message) -> Trial:
    """The trial on that rank, where it records nothing."""
    return Trial(
        number=record["number"],
        attempt=record["attempt"],
        repetition=record["repetition"],
        combination=Combination(record["combination"].items()),
        _checkpoint_dir=Path(record["checkpoint_dir"]),
        level=record["level"],
        _resource=record["resource"],
    )
