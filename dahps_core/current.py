"""The trial that this process evaluates, for training code that wants to know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dahps_core.combination import Combination


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
