"""The trial that this process evaluates, for training code that wants to know."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dahps_core.combination import Combination


class Flag:
    """A yes or no that a process shares with those that it forks; no at first."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    def set(self) -> None:
        """From now on it is yes, for all of them."""
        self._memory[0] = 1

    def __bool__(self) -> bool:
        return bool(self._memory[0])


@dataclass(frozen=True)
class Trial:
    """One trial, as the code that evaluates it sees it.

    Attributes:
        number: Unique in the ledger, from 0; the same in every attempt.
        attempt: 1 for the first execution.
        repetition: From 0; a seed for what should differ between evaluations of equal combinations.
        combination: The values to evaluate.
    """

    number: int
    attempt: int
    repetition: int
    combination: Combination
    _checkpoint_dir: Path
    _is_preempted: Flag = field(default_factory=Flag, repr=False, compare=False)

    @property
    def preempted(self) -> bool:
        """Whether the worker was told to end: by the scheduler, by the end of its job's time, by a person.

        Training code may ask after each step: it has the grace period to save a checkpoint and to leave, by
        SystemExit or any other exception, and is killed afterwards. The attempt is released in each case,
        and the next one finds the checkpoint. A result that is returned counts.
        """
        return bool(self._is_preempted)

    def preempt(self) -> None:
        """Tell the code that evaluates this trial, here or in a forked process, to leave."""
        self._is_preempted.set()

    @property
    def checkpoint_dir(self) -> Path:
        """The trial's own folder on the shared storage: what one attempt leaves there, the next one finds."""
        # Made when asked for: a search of 10^5 trials without checkpoints leaves no 10^5 folders behind.
        # Not the ledger's own folder, though: where that is missing, the storage is.
        self._checkpoint_dir.parent.mkdir(exist_ok=True)
        self._checkpoint_dir.mkdir(exist_ok=True)
        return self._checkpoint_dir


_current: Trial | None = None


def current_trial() -> Trial | None:
    """The trial that this process evaluates, or None outside of a search."""
    return _current


@contextmanager
def evaluating(trial: Trial) -> Iterator[Trial]:
    """Make `trial` the current one."""
    global _current
    _current, before = trial, _current
    try:
        yield trial
    finally:
        _current = before
