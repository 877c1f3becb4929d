"""The job that a process belongs to, by its environment; only this module and `launchers` read that."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dahps_core.environment.launchers import found, number, starter_of_torchrun
from dahps_core.errors import ConfigurationError

#: From here on a time reported by SLURM means that there is no limit.
_NO_TIME = 0xFFFFFFFE


@dataclass(frozen=True)
class BatchJob:
    """The job that this process belongs to, and its place in it; without a batch system, a process alone.

    Attributes:
        name: What people call the job, such as 17 or 17_3; None outside of a batch system.
        host: What people call the machine.
        rank: Of this process among those that were started together, from 0.
        size: How many were started together.
        local_rank: The same on this machine alone.
        local_size: The same on this machine alone; 1 if the launcher does not say.
        key: One name for all that were started together, and for no others, also when the job restarts;
            can be a file's name. Empty for a process alone, and for ranks whose launcher gives them none.
        lineage: One name for the processes of rank 0 that a launcher starts in place of each other.
        restarts: How often torchrun has restarted its processes.
        array: One name for all tasks of the job array that the job is one of; None if it is of none.
        started_at: When the job started, in seconds since the epoch; None where unknown.
        ends_at: The job's time limit, in seconds since the epoch; None where unknown.
        log: The files that the process's output goes to, one a line; None if to none.
    """

    name: str | None = None
    host: str = field(default_factory=socket.gethostname)
    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    key: str = ""
    lineage: str | None = None
    restarts: int = 0
    array: str | None = None
    started_at: float | None = None
    ends_at: float | None = None
    log: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> BatchJob:
        """Read the variables; a batch system's that make no sense are ignored.

        Raises:
            ConfigurationError: A rank that a person may have set by hand is none of its group.
        """
        tasks = found(environ)
        name = _name(environ)
        return cls(
            name=name,
            host=environ.get("SLURMD_NODENAME") or socket.gethostname(),
            **tasks._asdict(),
            lineage=_lineage(environ) or tasks.key or None,
            restarts=number(environ, "TORCHELASTIC_RESTART_COUNT") or 0,
            array=_array(environ),
            started_at=_time(environ, "SLURM_JOB_START_TIME"),
            ends_at=_time(environ, "SLURM_JOB_END_TIME"),
            log=_log() if name else None,
        )

    @property
    def place(self) -> tuple[int, int, str]:
        """Rank, size and key: they differ between any two processes of a job, and between jobs."""
        return self.rank, self.size, self.key

    def among(self, rank: int, size: int) -> BatchJob:
        """Return the job with the place that a process group gives; which machines that spans is unknown."""
        if (rank, size) == (self.rank, self.size):
            return self
        return replace(self, rank=rank, size=size, local_rank=0, local_size=1)

    def alone(self) -> BatchJob:
        """Return the job of a process that works on its own, though others were started with it."""
        lineage = self.lineage and f"{self.lineage}-{self.rank}"
        return replace(self, rank=0, size=1, local_rank=0, local_size=1, key="", lineage=lineage)

    def require_key(self) -> None:
        """Check that the ranks can find each other.

        Raises:
            ConfigurationError: No variable distinguishes their group from other groups.
        """
        if self.size > 1 and not self.key:
            raise ConfigurationError(
                f"this is rank {self.rank} of {self.size}, and no variable says where the ranks meet",
                where="environment",
                hint="Set MASTER_ADDR and MASTER_PORT, the same on all ranks, or start them by torchrun; in "
                'a script, ranks="independent" lets each of them search on its own',
            )

    def time_left_s(self) -> float | None:
        """Return the seconds until the job's time limit; None where it is unknown."""
        return None if self.ends_at is None else self.ends_at - time.time()


def _name(environ: Mapping[str, str]) -> str | None:
    if local := environ.get("SUBMITIT_LOCAL_JOB_ID"):
        return local
    array, task = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else environ.get("SLURM_JOB_ID") or None


def _lineage(environ: Mapping[str, str]) -> str | None:
    run = environ.get("TORCHELASTIC_RUN_ID")
    if not run:
        return None
    if run == "none":  # torchrun's default, not an id
        run = starter_of_torchrun(environ)
    return f"torchrun-{run}-{_name(environ) or ''}"


def _array(environ: Mapping[str, str]) -> str | None:
    array = environ.get("SLURM_ARRAY_JOB_ID")
    return array and f"array-{environ.get('SLURM_CLUSTER_NAME', '')}-{array}"


def _time(environ: Mapping[str, str], name: str) -> float | None:
    seconds = number(environ, name)
    return float(seconds) if seconds and seconds < _NO_TIME else None


def _log() -> str | None:
    return "\n".join(dict.fromkeys(_output_files())) or None


def _output_files() -> Iterator[str]:
    # No variable has it, but SLURM and submitit give a process its log file as its output.
    for descriptor in (1, 2):
        path = Path(f"/proc/self/fd/{descriptor}")
        if path.is_file():
            yield os.readlink(path)
