"""The searches that a training script can be an agent of."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from dahps_core.environment.batch_job import BatchJob
from dahps_core.errors import ConfigurationError, DahpsError
from dahps_core.ledger import Ledger, Locking, Search
from dahps_core.script.held_trial import Ranks, place
from dahps_core.script.joining import joined
from dahps_core.script.namespace import space_config
from dahps_core.script.search import ScriptSearch
from dahps_core.space import SearchSpace
from dahps_core.strategies.brackets import Brackets, Resource
from dahps_core.strategies.search import expect_one_of
from dahps_core.worker.options import WorkerOptions

S = TypeVar("S", bound="DistributedAsynchronousSearch")


class DistributedAsynchronousSearch(ScriptSearch):
    """What the searches share: how they are made; see `ScriptSearch` for what they do."""

    strategy: ClassVar[str]

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
        stop: str | None = None,
        stop_after: int = 5,
        levels: Brackets | None = None,
        max_resource_total: float | None = None,
        max_time: float | None = None,
        ranks: Ranks = "together",
    ) -> S:
        """Make a search of the space that a config describes.

        Args:
            path: The ledger's folder, on storage that all hosts share; made if there is none.
            config: The tree under `root`, as `SearchSpace.from_config` takes it.
            k: How many combinations to evaluate, by all processes together; None: all. In random search they
                are a random subset without replacement.
            direction: Whether to "minimize" or to "maximize" the metric.
            metric: The objective's name, if `finish_combination` is given mappings.
            seed: Of the random order; None: drawn once, and kept in the ledger.
            max_attempts: How often a trial is run that raises, or whose process dies.
            stop_after_failures: The search ends when this many attempts failed before one finished, in this
                process or in the tasks of its job array; None: never.
            heartbeat: Seconds between two heartbeats.
            lease: Seconds without one after which a process is considered dead.
            patience: Seconds to wait for a ledger that is locked, or that the storage does not give.
            locking: "fcntl", or "folder" where the storage's locks do not hold between hosts.
            grace: Seconds that the script has to leave when it has to end.
            trial_time: Seconds that a trial takes, so that none is drawn that would outlast the job; None: as
                the last ones took.
            keep_checkpoints: Of how many of the best finished trials checkpoints are kept, or of the best
                combinations, where each is repeated; None: of all.
            on_change: Whether to "refuse" a space that is not the ledger's, or to "extend" the ledger to it.
            stop: "median" or "patience": by which rule `current.should_stop` says so; None: never.
            stop_after: How many reports come before that at least.
            levels: That trials are promoted by, with HyperBand, which makes them.
            max_resource_total: With HyperBand: how much all trials may use in all; None: no limit.
            max_time: Seconds from when this process, or the first task of its job array, began: then no trial
                is begun any more, and what runs is finished. None: no limit.
            ranks: Whether processes that torchrun, mpirun or srun started evaluate one trial "together", or
                each is a worker of its own ("independent").

        Raises:
            SearchSpaceError: With every fault of the config.
            ConfigurationError: An option is invalid, this process holds a trial already, is a rank whose
                environment contradicts itself, or was started in a trial of another program.
            AttemptOver: This process was started in an attempt that has ended.
            LedgerError: As `Ledger.join` raises.
        """
        if k is not None and not (isinstance(k, int) and k >= 1):
            raise ConfigurationError(
                f"{k!r} is not a number of combinations", where="k", hint="Give 1 or more"
            )
        expect_one_of("on_change", on_change, ("refuse", "extend"))
        expect_one_of("locking", locking, ("fcntl", "folder"))
        expect_one_of("ranks", ranks, ("together", "independent"))
        search = Search(SearchSpace.from_config(config), cls.strategy, direction, metric, seed, levels)
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
            max_resource_total=max_resource_total,
            max_time_s=max_time,
            stop=stop,
            stop_after=stop_after,
        )
        if trial := joined(search.space):
            return cls(None, BatchJob(), options, trial)
        batch, ledger = place(ranks), None
        if batch.rank == 0:
            try:
                ledger = Ledger.join(path, search, on_change=on_change, locking=locking, patience_s=patience)
            except DahpsError as error:  # says it all: twenty lines of our own would hide it
                raise error.with_traceback(None) from None
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
        """Make a search of all combinations of the lists among a script's arguments.

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


class DistributedAsynchronousRandomSearch(DistributedAsynchronousSearch):
    """Each combination once, drawn level by level; see `ScriptSearch`."""

    strategy = "random"


class DistributedAsynchronousGridSearch(DistributedAsynchronousSearch):
    """Each combination once, in the order of the tree; see `ScriptSearch`."""

    strategy = "grid"


class DistributedAsynchronousHyperBand(DistributedAsynchronousSearch):
    """The best combinations continue with more epochs, from their checkpoints; see `ScriptSearch`.

    `current.resource` is how many epochs the trial shall have had when it is finished.
    """

    strategy = "hyperband"

    @classmethod
    def from_config(
        cls: type[S],
        path: Path | str,
        config: Mapping[str, Any],
        *,
        epoch_schedule: Sequence[Resource] | None = None,
        eta: int = 3,
        max_resource: Resource | None = None,
        min_resource: Resource | None = None,
        brackets: int | None = None,
        sizes: str = "algorithm_1",
        resource: str = "total",
        **options: Any,
    ) -> S:
        """Make a search as the other searches do, with the rungs of its promotions.

        Args:
            path: The ledger's folder.
            config: The tree.
            epoch_schedule: How many epochs, or how much of anything else, trials are given at the levels;
                None: these are the quotients of `max_resource` by powers of `eta`.
            eta: One in `eta` trials is promoted.
            max_resource: The most that a trial is given.
            min_resource: The least; None: 1.
            brackets: How many brackets; 1 is ASHA; None: as many as there are levels.
            sizes: "algorithm_1" or "table_1": which of the two published forms of the brackets' sizes.
            resource: "total": a trial's resource counts from its start; "increment": from the rung below.
            options: As of the other searches.

        Raises:
            ConfigurationError: An option is invalid; also as the other searches raise.
        """
        try:
            levels = Brackets.of(
                eta=eta,
                min_resource=min_resource,
                max_resource=max_resource,
                levels=epoch_schedule,
                brackets=brackets,
                sizes=sizes,
                resource=resource,
            )
        except ConfigurationError as error:
            where = "epoch_schedule" if error.where == "levels" else error.where
            raise ConfigurationError(error.what, where=where, hint=error.hint) from None
        return super().from_config(path, config, levels=levels, **options)
