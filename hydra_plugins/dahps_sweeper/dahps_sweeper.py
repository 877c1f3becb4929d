"""What Hydra imports at the start of every app: the sweeper's options, and a shim that loads the rest.

Nothing heavy may be imported here: an app that does not sweep pays for every line of it.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

import dahps_core  # noqa: F401 - registers `${dahps:...}`


class Direction(Enum):
    """Which end of the metric is best."""

    minimize = "minimize"
    maximize = "maximize"


class OnChange(Enum):
    """What to do if the ledger holds another search space."""

    refuse = "refuse"
    extend = "extend"


class Locking(Enum):
    """How the users of a ledger keep each other out."""

    fcntl = "fcntl"
    folder = "folder"


class Isolation(Enum):
    """Where a trial runs."""

    auto = "auto"
    process = "process"
    none = "none"


@dataclass
class StrategyConf:
    """How the next combination is chosen."""

    # random: at each node one of its values, by weight; every combination once
    # uniform: every combination with the same probability | grid: in the order of the tree
    # hyperband, asha: as random, and the best continue with more resource
    # null: random
    name: str | None = None

    # When `trial.should_stop` turns true, by what trials report; null: never.
    # median: the best metric so far is worse than the median of what others had on average up to that step
    # patience: the last `stop_after` reports brought no new best one
    stop: str | None = None

    # How many reports of a trial come before that at least.
    stop_after: int = 5

    # What follows is for hyperband and asha alone.

    # One in eta trials of a rung is promoted to the next; null: 3.
    eta: int | None = None

    # The least and the most that a trial is given, such as epochs; the levels are the quotients of the most
    # by powers of eta. null: a least of 1.
    min_resource: Any = None
    max_resource: Any = None

    # These levels instead, such as [1, 3, 9].
    levels: Any = None

    # How many brackets there are: the first starts at the lowest level, the second at the next one, and so
    # on; null: as many as levels.
    brackets: int | None = None

    # How many trials of a round start in each bracket: as in "algorithm_1" or "table_1" of the paper.
    sizes: str | None = None

    # A trial's resource: the "total" that it shall have used at its end, or the rung's "increment".
    resource: str | None = None

    # The override that carries it, such as epochs; null: none, `${dahps:resource}` gives it.
    resource_key: str | None = None


@dataclass
class DahpsSweeperConf:
    """The options of `hydra/sweeper=dahps`.

    A multirun that names no `search`, no `ledger` and no `strategy` is a plain sweep, as with Hydra's basic
    sweeper: each combination of the command line once, in its order, and the first error is raised.
    """

    _target_: str = "hydra_plugins.dahps_sweeper.dahps_sweeper.DahpsSweeper"

    # Which of the configs in hydra/sweeper/strategy fills `strategy`.
    defaults: list[Any] = field(default_factory=lambda: ["_self_", {"strategy": None}])

    # The search space stays data: nothing in it is instantiated.
    _recursive_: bool = False

    # The search space: a mapping with `root` (the tree) and, if wanted, `common`, `check_unique` and
    # `repetitions`; or "module:attribute", where Python finds such a mapping.
    # Sweeps on the command line (lr=0.1,0.01) are further levels of the tree.
    search: Any = None

    # Overrides that come before those of the command line: key -> a value or a sweep, as one would type it.
    params: dict[str, str] | None = None

    # Keys that say only how trials are run, such as [data_dir] for data that lies elsewhere on each cluster:
    # set on the command line, they are no part of a combination, and may differ between multiruns of one
    # ledger. A config that holds nothing but `hydra` is none in any case.
    not_searched: Any = None

    # The ledger's folder, on storage that every worker shares. Multiruns with the same ledger work on
    # one search, at the same time or in sequence.
    # null: dahps/<app> where the app was started; of a plain sweep, one of its own in its folder.
    ledger: str | None = None

    # How the next combination is chosen.
    strategy: StrategyConf = field(default_factory=StrategyConf)

    # Whether the metric is to "minimize" or "maximize".
    direction: Direction = Direction.minimize

    # The objective's name, if the training function returns a mapping of metrics.
    metric: str | None = None

    # The seed of the random order; drawn when the ledger is created if it is null.
    seed: int | None = None

    # How many trials the ledger may hold in all, over all multiruns; null: as many as the space has.
    max_trials: int | None = None

    # With hyperband or asha: how much all trials may use at all levels, over all multiruns; null: no limit.
    max_resource_total: float | None = None

    # Seconds after the start of its first worker from which this multirun starts no trial; running ones
    # finish. Time in the queue before that is not counted. null: no limit.
    max_time: float | None = None

    # How many workers this multirun launches: jobs of a cluster, processes of a machine.
    # Hydra's basic launcher runs one, in Hydra's own process.
    n_workers: int = 4

    # Draw from one branch of the space alone: key -> a value, or a list of those that are allowed, such as
    # {model: vit}. Multiruns with the same ledger can so have other launchers or resources for each branch.
    only: Any = None

    # Return as soon as the workers are submitted, and leave them to the batch system. Only for launchers
    # whose jobs live on: submitit_slurm, submitit_local, rq. No optimization_results.yaml is written then.
    detach: bool = False

    # In a plain sweep: run this many trials, and the next ones when all of these have ended; null: all at
    # once.
    max_batch_size: int | None = None

    # Compose a sample of each branch of the space, report all errors with their places, and what would be
    # launched; write nothing and run nothing.
    dry_run: bool = False

    # Run the trial of `ledger` with this number alone, as it ran in the search, and record nothing:
    # `dahps show` prints the command. null: search.
    run_alone: int | None = None

    # How often a trial is run that raises, or whose worker dies; null: 3, and once in a plain sweep.
    max_attempts: int | None = None

    # Stop the search when this many attempts of this multirun failed, or finished with NaN, before one
    # finished with a number; null: never. A plain sweep does not stop.
    stop_after_failures: int | None = 5

    # Seconds between two heartbeats of a worker.
    heartbeat: float = 15.0

    # Seconds without a heartbeat after which a worker is considered dead and its trial is rerun;
    # longer than what the storage's attribute cache hides (60 s on NFS by default).
    lease: float = 120.0

    # How the ledger's users keep each other out: "fcntl" by byte-range locks; "folder", where these do not
    # hold between hosts (`dahps doctor` tests it). A ledger keeps the way that it was made with.
    locking: Locking = Locking.fcntl

    # Seconds that a worker waits while the ledger is locked and no one writes, or the storage is gone;
    # then what it has is written beside the trial's own output, for `dahps recover`.
    patience: float = 600.0

    # Seconds after which a trial is killed and has failed, its heartbeat notwithstanding; null: never.
    trial_timeout: float | None = None

    # Seconds that a trial takes: a worker whose job ends sooner draws none, and leaves. null: what the
    # finished trials took.
    trial_time: float | None = None

    # Seconds that a trial has to save its state when its worker has to end (preempted, cancelled, out of
    # time), before it is killed; at most what the batch system grants.
    grace: float = 20.0

    # Of how many of the best finished trials the checkpoints are kept, or of the best combinations, where
    # each is repeated; 0: of none, null: of all. A trial that may still run keeps its own.
    keep_checkpoints: int | None = None

    # Where a trial runs: "process", in one of its own, so that a crash ends nothing but itself; "none", in
    # its worker's; "auto": in one of its own, unless the launcher runs its jobs here (Hydra's basic one).
    isolation: Isolation = Isolation.auto

    # What to do if the ledger holds another search space, or its trials were made of other configs: "refuse",
    # or "extend" it by this space, and continue with the configs as they are now.
    on_change: OnChange = OnChange.refuse


class _LazyNode(ConfigNode):
    """A structured config in the ConfigStore that is converted when it is read: most apps never read it."""

    def __init__(self, name: str, conf: Any, group: str) -> None:
        self.name, self.group, self.package, self.provider = f"{name}.yaml", group, None, "dahps"
        self._held = [conf]  # in common with the copies that the ConfigStore makes

    @property
    def node(self) -> DictConfig:
        """The config; converted once."""
        if not isinstance(self._held[0], DictConfig):
            self._held[0] = OmegaConf.structured(self._held[0])
        converted: DictConfig = self._held[0]
        return converted

    @node.setter
    def node(self, node: DictConfig) -> None:
        self._held = [node]


def _store(group: str, name: str, conf: Any) -> None:
    place = ConfigStore.instance().repo
    for part in group.split("/"):
        place = place.setdefault(part, {})
    node = _LazyNode(name, conf, group)
    place[node.name] = node


_store("hydra/sweeper", "dahps", DahpsSweeperConf)
for _name in ("random", "uniform", "grid"):
    _store("hydra/sweeper/strategy", _name, StrategyConf(_name))
for _name in ("hyperband", "asha"):
    _store("hydra/sweeper/strategy", _name, StrategyConf(_name, eta=3, resource="total"))


class DahpsSweeper(Sweeper):
    """Searches a nested conditional space with workers that share one ledger.

    Args:
        options: The fields of `DahpsSweeperConf`.
    """

    def __init__(self, **options: Any) -> None:
        # Hydra hands the options over without their place in the config, where `${...}` in them points to.
        del options
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def sweep(self, arguments: list[str]) -> Any:
        """Run the search, or one trial alone.

        In a process that a trial has started, evaluate that trial and record nothing.

        Args:
            arguments: The command line's overrides of the app's config.
        """
        from hydra_plugins.dahps_sweeper._relaunched import evaluate_again, is_started_by_a_trial
        from hydra_plugins.dahps_sweeper._run_alone import run_alone
        from hydra_plugins.dahps_sweeper._sweep import Sweep

        assert self.hydra_context is not None
        assert self.task_function is not None
        assert self.config is not None
        if is_started_by_a_trial():
            return evaluate_again(self.hydra_context, self.config, self.task_function, arguments)
        if self.config.hydra.sweeper.run_alone is not None:
            return run_alone(self.hydra_context, self.config, self.task_function, arguments)
        return Sweep(self.hydra_context, self.config, self.task_function).run(arguments)
