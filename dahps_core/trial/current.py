"""The trial that this process evaluates, for training code."""

from __future__ import annotations

import mmap
import operator
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from dahps_core import checkpoints
from dahps_core.environment.batch_job import BatchJob
from dahps_core.errors import ConfigurationError
from dahps_core.model.combination import Combination
from dahps_core.model.records import Report
from dahps_core.trial.history import History, HistoryFile, RemoteHistory
from dahps_core.trial.membership import Attempt
from dahps_core.trial.metric import read_number

#: Bytes of `Flags`.
_N_FLAGS = 3


class Flags:
    """What all processes of an attempt share: is it preempted, should it stop, has it read its resource.

    Forked processes share it; others too, from when it is kept in a file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._memory = mmap.mmap(-1, _N_FLAGS) if path is None else _mapped(path)

    def keep_in(self, path: Path) -> None:
        """Share it by a new file."""
        path.write_bytes(self._memory[:])
        self._memory = _mapped(path)

    @property
    def preempted(self) -> bool:
        """Whether the trial is to leave."""
        return bool(self._memory[0])

    @preempted.setter
    def preempted(self, value: bool) -> None:
        self._memory[0] = value

    @property
    def should_stop(self) -> bool:
        """Whether the trial's reports say that it should stop."""
        return bool(self._memory[1])

    @should_stop.setter
    def should_stop(self, value: bool) -> None:
        self._memory[1] = value

    @property
    def resource_read(self) -> bool:
        """Whether anything has read how much the trial is to spend."""
        return bool(self._memory[2])

    @resource_read.setter
    def resource_read(self, value: bool) -> None:
        self._memory[2] = value


def _mapped(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), _N_FLAGS)


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
    _history: History | RemoteHistory | HistoryFile | None = field(default=None, repr=False, compare=False)
    _flags: Flags = field(default_factory=Flags, repr=False, compare=False)

    @property
    def resource(self) -> int | float | None:
        """How much of it to spend (epochs, say), if the strategy says so."""
        self._flags.resource_read = True
        return self._resource

    @property
    def ignores_resource(self) -> bool:
        """Whether the strategy sets a resource that nothing has read."""
        return self._resource is not None and not self._flags.resource_read

    @property
    def preempted(self) -> bool:
        """Whether the worker has to end: by the scheduler, by its job's time limit, by a person.

        Training code may check it after each step: it has the grace period to save a checkpoint and to
        leave, by SystemExit or any other exception, and is killed afterwards. The attempt is released in
        each case, and the next one finds the checkpoint. A result that is returned counts.
        """
        return self._flags.preempted

    def preempt(self) -> None:
        """Let the code that evaluates this trial, in whatever process, see that it is to leave."""
        self._flags.preempted = True

    @property
    def checkpoint_dir(self) -> Path:
        """The trial's own folder on the shared storage: what one attempt leaves there, the next one finds."""
        # Created on first use: a search of 10^5 trials without checkpoints leaves no 10^5 folders behind.
        # Not the ledger's own folder, though: where that is missing, the storage is.
        self._checkpoint_dir.parent.mkdir(exist_ok=True)
        self._checkpoint_dir.mkdir(exist_ok=True)
        return self._checkpoint_dir

    def report(self, metric: float, step: int) -> None:
        """Report a metric of the training; where several ranks train, only rank 0's counts.

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
        if self._history is not None and self._history.is_recorded:
            number = read_number(metric, "the reported metric", "Report a number")
            self._history.report(Report(_read_step(step), number))
            if (should_stop := self._history.should_stop) is not None:
                self._flags.should_stop = should_stop

    @property
    def should_stop(self) -> bool:
        """Whether what was reported so far is not worth going on with, by the rule of `strategy.stop`.

        Never, unless one was chosen. Training code that checks it after each report ends as usual, and
        returns the metric that it has come to. All processes that rank 0 starts see it; other ranks of the
        job do not.
        """
        return self._flags.should_stop

    def save_checkpoint(self, states: Any) -> None:
        """Save what the next attempt continues from, in place of the last checkpoint; only rank 0's.

        Whenever the process is killed, one of the two is there as a whole, and all that was reported before
        it is in the ledger.

        Args:
            states: Tensors, state dicts and plain values, in lists, tuples and dicts, as for `torch.save`.

        Raises:
            ClaimLost: Another worker holds the trial by now; its checkpoint is not touched.
            LedgerError: What was reported could not be recorded; the checkpoint before stays.
        """
        if self._history is not None and self._history.is_recorded:
            path = self.checkpoint_dir / checkpoints.FILE_NAME
            checkpoints.save(states, path, self._history.flush, self.attempt)

    def load_checkpoint(self, *, map_location: Any = None, weights_only: bool = True) -> Any | None:
        """Return what an earlier attempt saved, or None if there is nothing; works on every rank.

        Args:
            map_location: Where tensors go, as for `torch.load`; None: to where they were.
            weights_only: False reads any Python object, and runs what code a checkpoint brings along.

        Raises:
            CheckpointError: It cannot be loaded so.
        """
        path = self._checkpoint_dir / checkpoints.FILE_NAME
        return checkpoints.load(path, map_location=map_location, weights_only=weights_only)


_current: Trial | None = None
_joined: dict[Attempt, Trial] = {}


def current_trial() -> Trial:
    """Return the trial that this process evaluates or belongs to, however it was started.

    Outside of a search it is a stand-in with number None, whose checkpoints and `history.jsonl` lie in the
    run's own folder: Hydra's output folder, or else the current one.

    Raises:
        AttemptOver: This process was started in an attempt that has ended.
    """
    return _current or joined_trial() or _stand_in(_run_folder())


def is_evaluating() -> bool:
    """Return whether this process, or one that it was forked from, was given a trial to evaluate."""
    return _current is not None


def joined_trial() -> Trial | None:
    """Return the trial of the attempt that this process was started in; None outside of one."""
    if (attempt := Attempt.of_this_process()) is None:
        return None
    record = attempt.request("trial")  # each time: this process may outlive the attempt
    if attempt not in _joined:
        history = RemoteHistory(attempt, record["ranks"]) if record["is_recorded"] else None
        trial = trial_of(record, _history=history, _flags=Flags(Path(record["flags"])))
        _joined[attempt] = trial
    return _joined[attempt]


def record_of(trial: Trial) -> dict[str, Any]:
    """Return what another process needs to take part in a trial, as JSON's values."""
    return {
        "number": trial.number,
        "attempt": trial.attempt,
        "repetition": trial.repetition,
        "combination": dict(trial.combination),
        "checkpoint_dir": str(trial._checkpoint_dir),
        "level": trial.level,
        "resource": trial._resource,
    }


def trial_of(record: dict[str, Any], **shared: Any) -> Trial:
    """Return the trial in another process, where it records nothing unless `shared` has a history."""
    return Trial(
        number=record["number"],
        attempt=record["attempt"],
        repetition=record["repetition"],
        combination=Combination(record["combination"].items()),
        _checkpoint_dir=Path(record["checkpoint_dir"]),
        level=record["level"],
        _resource=record["resource"],
        **shared,
    )


def alone(trial: Trial) -> Trial:
    """Return a trial as one that is run outside of its search: what it saves and reports is the run's."""
    outside = _stand_in(_run_folder())
    return replace(trial, _checkpoint_dir=outside._checkpoint_dir, _history=outside._history)


@cache
def _stand_in(folder: Path) -> Trial:
    is_first = BatchJob.from_environment().rank == 0
    history = HistoryFile(folder / "history.jsonl") if is_first else None
    return Trial(None, 1, 0, Combination([]), folder / "checkpoints", _history=history)


def _run_folder() -> Path:
    # Looked up, not imported: a process that runs a Hydra app has imported it.
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
        raise ConfigurationError(f"{step!r} is no step", where="report", hint="Count steps from 0")
    return number
