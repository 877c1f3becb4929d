"""What the sweeper has to know of the launcher that the user chose."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import DictConfig

from hydra_plugins.dahps_sweeper._scheduler import largest_array

#: Up to here nobody is asked how large an array may be: no SLURM is known that takes less.
SMALL_ARRAY = 64


@dataclass(frozen=True)
class Place:
    """Where a launcher's workers run.

    Attributes:
        is_here: In Hydra's own process, one after the other, so that a debugger works.
        is_slurm: In jobs of SLURM.
        submitit_folder: Where submitit keeps the files of its jobs, which outlive the process that submitted
            them; None for other launchers.
    """

    is_here: bool
    is_slurm: bool
    submitit_folder: str | None

    def launches(self, n_workers: int) -> list[range]:
        """The numbers of the workers, in as many launches as it takes: each is one job array of SLURM."""
        size = largest_array() if self.is_slurm and n_workers > SMALL_ARRAY else n_workers
        return [range(first, min(first + size, n_workers)) for first in range(0, n_workers, size)]


def place_of_workers(config: DictConfig) -> Place:
    """Where the workers of a multirun with this config will run."""
    launcher = config.hydra.launcher
    kind = str(launcher._target_).rpartition(".")[2]
    is_submitit = kind in ("SlurmLauncher", "LocalLauncher")
    return Place(
        is_here=kind == "BasicLauncher",
        is_slurm=kind == "SlurmLauncher",
        submitit_folder=str(launcher.submitit_folder) if is_submitit else None,
    )
