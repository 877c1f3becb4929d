"""The trial that this process evaluates, for training code that wants to know."""

from __future__ import annotations

import mmap
import operator
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from dahps_core import checkpoints
from dahps_core.batch import BatchJob
from dahps_core.combination import Combination
from dahps_core.errors import ConfigurationError
from dahps_core.history import History, HistoryFile
from dahps_core.metric import read_number
from dahps_core.strategies.stopping import Stopper
from dahps_core.trial import Report


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
        number: Unique in the ledger, from 0; the same in every attempt. None outside of a search.
        attempt: 1 for the first execution.
        repetition: From 0; a seed for what should differ between evaluations of equal combinations.
        combination: The values to evaluate.
        level: From 0; which of its evaluations with growing resources this is, for strategies that have such.
    """

    number: int | None
    attempt: int
    repetition: int
    combination: Combination
    _checkpoint_dir: Path
    level: int = 0
    _resource: int | float | None = None
    #: None on a rank that records nothing: another one does.
    _history: History | HistoryFile | None = field(default=None, repr=False, compare=False)
    _stopper: Stopper | None = field(default=None, repr=False, compare=False)
    _is_preempted: Flag = field(default_factory=Flag, repr=False, compare=False)
    _is_resource_read: Flag = field(default_factory=Flag, repr=False, compare=False)

    @property
    def resource(self) -> int | float | None:
        """How much of it to spend (epochs, say), if the strategy says so."""
        self._is_resource_read.set()
        return self._resource

    @property
    def ignores_resource(self) -> bool:
        """Whether the strategy says how much to spend, and nothing has asked."""
        return self._resource is not None and not self._is_resource_read

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

    def report(self, metric: float, step: int) -> None:
        """Tell how well the training goes; where several ranks train, rank 0 is heard alone.

        It costs no access to the storage. What was reported is in the ledger after the next `save_checkpoint`
        and after the attempt's end, however that comes; a worker that is killed loses what came after the
        last checkpoint, which the next attempt reports again.

        Args:
            metric: Any number; NaN and infinities are kept.
            step: From 0, such as an epoch. Of several metrics at one step of an attempt the last one counts.

        Raises:
            MetricError: The metric is no number.
            ConfigurationError: The step is none.
        """
        if self._history is not None:
            number = read_number(metric, "the reported metric", "Report a number")
            told = Report(_read_step(step), number)
            self._history.report(told)
            if self._stopper:
                self._stopper.take(*told)

    @property
    def should_stop(self) -> bool:
        """Whether what was reported so far is not worth going on with, by the rule of `strategy.stop`.

        Never, unless one was chosen. Training code that asks after each report ends as usual, and returns the
        metric that it has come to. Only rank 0 knows: the others report nothing.
        """
        return self._stopper is not None and self._stopper.should_stop

    def save_checkpoint(self, states: Any) -> None:
        """Save what the next attempt goes on from, in place of what was saved before; rank 0's alone.

        Whenever the process is killed, one of the two is there as a whole, and all that was reported before
        it is in the ledger.

        Args:
            states: Tensors, state dicts and plain values, in lists, tuples and dicts, as for `torch.save`.

        Raises:
            ClaimLost: Another worker holds the trial by now; its checkpoint is not touched.
            LedgerError: What was reported could not be recorded; the checkpoint before stays.
        """
        if self._history is not None:
            checkpoints.save(states, self.checkpoint_dir / checkpoints.FILE_NAME, self._history.flush)

    def load_checkpoint(self, *, map_location: Any = None, weights_only: bool = True) -> Any | None:
        """What an earlier attempt has saved, or None if there is nothing; works on every rank.

        Args:
            map_location: Where tensors go, as for `torch.load`; None: to where they were.
            weights_only: False reads any Python object, and runs what code a checkpoint brings along.

        Raises:
            CheckpointError: It cannot be loaded so.
        """
        path = self._checkpoint_dir / checkpoints.FILE_NAME
        return checkpoints.load(path, map_location=map_location, weights_only=weights_only)


_current: Trial | None = None


def current_trial() -> Trial:
    """The trial that this process evaluates.

    Outside of a search it is a stand-in with number None, whose checkpoints and `history.jsonl` lie in the
    run's own folder: Hydra's output folder, or else the current one.
    """
    return _current or _stand_in(_run_folder())


@cache
def _stand_in(folder: Path) -> Trial:
    is_first = BatchJob.from_environment().rank == 0
    history = HistoryFile(folder / "history.jsonl") if is_first else None
    return Trial(None, 1, 0, Combination([]), folder / "checkpoints", _history=history)


def _run_folder() -> Path:
    # Asked for, and not imported: whoever runs an app of Hydra has.
    hydra = sys.modules.get("hydra.core.hydra_config")
    of_hydra = hydra and hydra.HydraConfig.initialized() and hydra.HydraConfig.get().runtime.get("output_dir")
    return Path(of_hydra or Path.cwd())


@contextmanager
def evaluating(trial: Trial) -> Iterator[Trial]:
    """Make `trial` the current one."""
    global _current
    _current, before = trial, _current
    try:
        yield trial
    finally:
        _current = before


def _read_step(step: int) -> int:
    try:
        number = operator.index(step)
    except TypeError:
        number = -1
    if not 0 <= number < 2**63:
        raise ConfigurationError(f"{step!r} is no step", where="report", mend="Count steps from 0")
    return number
