"""The properties of the user's launcher that matter to the sweeper."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from hydra_plugins.dahps_sweeper._scheduler import largest_array

#: Up to here the limit of arrays is not queried: no known SLURM allows less.
SMALL_ARRAY = 64


@dataclass(frozen=True)
class Place:
    """Where a launcher's workers run.

    Attributes:
        is_here: In Hydra's own process, in sequence, so that a debugger works.
        is_slurm: In jobs of SLURM.
        is_queue: In workers of rq, which take jobs from a queue.
        submitit_folder: Where submitit keeps the files of its jobs; None for other launchers.
        ends_together: In joblib's pool, which ends all of them with the first that is killed or raises.
    """

    is_here: bool
    is_slurm: bool
    is_queue: bool
    submitit_folder: str | None
    ends_together: bool = False

    @property
    def outlives_sweeper(self) -> bool:
        """Whether the workers keep running when the process that launched them ends."""
        return self.is_queue or self.submitit_folder is not None

    def launches(self, n_workers: int) -> list[range]:
        """Return the numbers of the workers, split into launches: each is one job array of SLURM."""
        size = largest_array() if self.is_slurm and n_workers > SMALL_ARRAY else n_workers
        return [range(first, min(first + size, n_workers)) for first in range(0, n_workers, size)]


def place_of_workers(config: DictConfig) -> Place:
    """Return where the workers of a multirun with this config will run."""
    launcher = config.hydra.launcher
    kind = str(launcher._target_).rpartition(".")[2]
    is_submitit = kind in ("SlurmLauncher", "LocalLauncher")
    return Place(
        is_here=kind == "BasicLauncher",
        is_slurm=kind == "SlurmLauncher",
        is_queue=kind == "RQLauncher",
        submitit_folder=str(launcher.submitit_folder) if is_submitit else None,
        ends_together=kind == "JoblibLauncher",
    )


def detaches(config: DictConfig) -> bool:
    """Return whether the sweeper returns before its workers do: by its own option, or by that of rq."""
    return bool(config.hydra.sweeper.detach or OmegaConf.select(config, "hydra.launcher.stop_after_enqueue"))


def without_waiting(config: DictConfig) -> DictConfig:
    """Return the config of a launcher of rq that returns as soon as its jobs are in the queue."""
    config = copy.deepcopy(config)
    OmegaConf.set_readonly(config.hydra, False)  # Hydra 1.4 has frozen it
    config.hydra.launcher.stop_after_enqueue = True
    return config


def is_done(error: Exception) -> bool:
    """Return whether a launcher raised this only to say that its jobs are in the queue."""
    return type(error).__name__ == "StopAfterEnqueue"
