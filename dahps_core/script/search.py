"""The search of a training script: one combination after the other, in the script's own process."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from dahps_core.batch import BatchJob
from dahps_core.child import Answer
from dahps_core.combination import Combination
from dahps_core.current import Trial
from dahps_core.errors import ConfigurationError, DahpsError, SearchExhausted
from dahps_core.ledger import Ledger, Locking, Search
from dahps_core.metric import read_result
from dahps_core.script.hand import Hand, place, process_group
from dahps_core.script.leaving import this_process
from dahps_core.script.namespace import space_config, to_namespace
from dahps_core.space import SearchSpace
from dahps_core.worker_options import WorkerOptions

log = logging.getLogger(__name__)

S = TypeVar("S", bound="ScriptSearch")


class ScriptSearch:
    """A search of which the process that makes it is a worker; it claims a combination at once.

    Where several processes were started together, by torchrun or as the tasks of a step of SLURM, they are
    the ranks of one trial: rank 0 claims and records, the others hold the same combination after
    `dahps_core.torch_utils.sync_parameters`, and what records does nothing there.

    If the script raises, the attempt has failed. If it is told to end (SIGTERM, SIGHUP, `dahps stop --now`),
    `current.preempted` turns true, and it has `grace` seconds to finish or to leave; then the trial is given
    back, and the process ends. If it is killed, the trial is claimed again after the lease.
    """

    strategy: ClassVar[str]

    def __init__(self, ledger: Ledger | None, batch: BatchJob, options: WorkerOptions) -> None:
        self._args: Namespace | None = None
        self._hand = Hand(ledger, batch, options)
        self.get_new_combination()

    @classmethod
    def from_config(
        cls: type[S],
        path: Path | str,
        config: Mapping[str, Any],
        *,
        k: int | None = None,
        direction: str = "minimize",
        metric: str | None = None,
        seed: int | None = None,
        max_attempts: int = 3,
        stop_after_failures: int | None = 5,
        heartbeat: float = 15.0,
        lease: float = 120.0,
        patience: float = 600.0,
        locking: Locking = "fcntl",
        grace: float = 20.0,
        trial_time: float | None = None,
        keep_checkpoints: int | None = None,
        on_change: Literal["refuse", "extend"] = "refuse",
    ) -> S:
        """A search of the space that a config describes.

        Args:
            path: The ledger's folder, on storage that all hosts share; made if there is none.
            config: The tree under `root`, as `SearchSpace.from_config` takes it.
            k: How many combinations to evaluate, by all processes together; None: all. In random search they
                are a random subset without replacement.
            direction: Whether to "minimize" or to "maximize" the metric.
            metric: The objective's name, if `finish_combination` is given mappings.
            seed: Of the random order; None: drawn once, and kept in the ledger.
            max_attempts: How often a trial is run that raises, or whose process dies.
            stop_after_failures: The search ends when so many attempts failed before one finished, in this
                process or in the tasks of its job array; None: never.
            heartbeat: Seconds between two signs of life.
            lease: Seconds without one after which a process is held for dead.
            patience: Seconds to wait for a ledger that is locked, or that the storage does not give.
            locking: "fcntl", or "folder" where the storage's locks do not hold between hosts.
            grace: Seconds that the script has to leave when it is told to end.
            trial_time: Seconds that a trial takes, so that none is drawn that would outlast the job; None: as
                the last ones took.
            keep_checkpoints: Of how many of the best finished trials checkpoints are kept; None: of all.
            on_change: Whether to "refuse" a space that is not the ledger's, or to "extend" the ledger to it.

        Raises:
            SearchSpaceError: With every fault of the config.
            ConfigurationError: An option cannot be meant, or this process holds a trial already.
            LedgerError: As `Ledger.join` raises.
        """
        if k is not None and not (isinstance(k, int) and k >= 1):
            raise ConfigurationError(f"{k!r} combinations cannot be drawn", where="k", mend="Give 1 or more")
        batch = place()
        search = Search(SearchSpace.from_config(config), cls.strategy, direction, metric, seed)
        options = WorkerOptions(
            max_trials=None if k is None else k * search.space.repetitions,
            max_attempts=max_attempts,
            stop_after_failures=stop_after_failures,
            heartbeat_s=heartbeat,
            lease_s=lease,
            isolate=False,
            trial_time_s=trial_time,
            grace_s=grace,
            keep_checkpoints=keep_checkpoints,
        )
        ledger = None
        if batch.rank == 0:
            ledger = Ledger.join(path, search, on_change=on_change, locking=locking, patience_s=patience)
        return cls(ledger, batch, options)

    @classmethod
    def from_namespace(
        cls: type[S],
        root: Path | str,
        search_space: Sequence[str],
        args: Namespace,
        k: int | None = None,
        **options: Any,
    ) -> S:
        """A search of all combinations of the lists among a script's arguments.

        Args:
            root: The ledger's folder.
            search_space: Which attributes of `args` are lists of values to try; the first changes slowest.
                All others are the same in every trial, and take no part.
            args: As argparse parsed them; not changed.
            k: As for `from_config`.
            options: As for `from_config`; raises as that does.
        """
        search = cls.from_config(root, space_config(search_space, args), k=k, **options)
        search._args = args
        return search

    @property
    def combination(self) -> Combination | None:
        """The combination in hand, or that was last; None if the search is exhausted.

        Where there is none yet, and one may come back, rank 0 waits here.

        Raises:
            DahpsError: On a rank that does not know it yet.
        """
        return self._hand.combination

    @property
    def current(self) -> Trial | None:
        """The trial in hand; None if it has ended."""
        return self._hand.trial

    def to_namespace(self, combination: Combination | None, args: Namespace | None = None) -> Namespace:
        """A combination as a namespace: an attribute for each key, under the key's own name, dots and all.

        Args:
            combination: Such as `agent.combination`.
            args: The script's own arguments, which the namespace has as well, unless the combination sets
                them; they are not changed. None: those that the search was made from, if it was.

        Raises:
            SearchExhausted: The combination is None.
        """
        if combination is None:
            raise SearchExhausted(self._hand.why_none or "there is no combination")
        return to_namespace(combination, self._args if args is None else args)

    def save_checkpoint(self, states: Any) -> None:
        """As `Trial.save_checkpoint`, of the trial in hand."""
        if self._hand.ledger:
            self._hand.trial_in_hand.save_checkpoint(states)

    def load_checkpoint(self, *, map_location: Any = None, weights_only: bool = True) -> Any | None:
        """As `Trial.load_checkpoint`, of the trial in hand."""
        return self._hand.trial_in_hand.load_checkpoint(map_location=map_location, weights_only=weights_only)

    def report(self, metric: float, step: int) -> None:
        """As `Trial.report`, of the trial in hand."""
        if self._hand.ledger:
            self._hand.trial_in_hand.report(metric, step)

    def finish_combination(self, metric: Any) -> None:
        """Record the result of the trial in hand, for good; draws nothing.

        Args:
            metric: Any number, NaN and infinities too; a tensor or an array of one element; a mapping of
                names to these, if the search was told which one is the objective; or None.

        Raises:
            MetricError: It is nothing of these; the trial is still in hand.
            ClaimLost: The trial was claimed by another process, or cancelled.
            LedgerUnavailableError: The storage refused; the result is kept in a file, which the log names.
        """
        if self._hand.ledger:
            result, objective = read_result(metric, self._hand.ledger.search.metric)
            self._hand.end(Answer("finished", result, objective))
        elif self.current:
            self._hand.end(Answer("finished"))

    def release(self) -> None:
        """Give the trial in hand back, uncounted: it is the next to be claimed.

        Raises:
            ClaimLost: The trial was claimed by another process, or cancelled.
            LedgerUnavailableError: The storage refused.
        """
        if self._hand.ledger:
            self._hand.end(Answer("released", error="the script released it"))

    def get_new_combination(self) -> Combination | None:
        """Claim the next combination; None if the search is exhausted. Waits while one may come back.

        Where several ranks train together, `sync_parameters` waits, and tells all of them what has come.

        Raises:
            DahpsError: The last trial has neither been finished nor released.
            LedgerUnavailableError: The storage refused.
        """
        return self._hand.draw()

    @contextmanager
    def trial(self) -> Iterator[Trial]:
        """The trial in hand, or the next one, for the length of a block, which ends it.

        It has finished with what `finish_combination` was given in the block, or else with the last reported
        metric, or else without one. An exception is the attempt's failure, and goes on its way; SystemExit,
        KeyboardInterrupt, and any exception once the trial is preempted give it back.

        Raises:
            SearchExhausted: There is none.
        """
        trial = self._in_hand_or_next()
        if trial is None:
            raise SearchExhausted(self._hand.why_none or "there is no combination")
        process = this_process()
        try:
            yield trial
        except BaseException as error:
            if self.current:
                process.end_quietly(process.judged(error))
            raise
        if self.current and self._hand.holding:
            self.finish_combination(self._hand.holding.last_metric)

    def __iter__(self) -> Iterator[Trial]:
        """One trial after the other, until the search is exhausted; each is to be finished or released."""
        while (trial := self._in_hand_or_next()) is not None:
            yield trial
            if self._hand.ledger and self.current:
                raise DahpsError(
                    "the loop goes on, and the trial has neither been finished nor released",
                    where=f"trial {trial.number}",
                    mend="Call finish_combination(metric) in the loop",
                )

    def _in_hand_or_next(self) -> Trial | None:
        if self._hand.ledger and self.current is None and self._hand.why_none is None:
            self.get_new_combination()
        with suppress(SearchExhausted):
            self._sync()
        return None if self.combination is None else self._hand.trial_in_hand

    def _sync(self) -> None:
        """Share the combination where the script trains by several processes of torch.distributed."""
        if group := process_group():
            from dahps_core.torch_utils import sync_parameters

            sync_parameters(group.get_rank(), self)


class DistributedAsynchronousRandomSearch(ScriptSearch):
    """Each combination once, in a random order; see `ScriptSearch`."""

    strategy = "random"


class DistributedAsynchronousGridSearch(ScriptSearch):
    """Each combination once, in the order of the tree; see `ScriptSearch`."""

    strategy = "grid"
