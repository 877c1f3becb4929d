"""What batch systems tell a process by its environment; the one place that knows their variables."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

#: From here on SLURM counts what is no step that `srun` started: batch scripts, interactive shells.
_FIRST_SPECIAL_STEP = 0xFFFFFFF0
#: From here on a time of SLURM's says that there is none.
_NO_TIME = 0xFFFFFFFE

#: By these, launchers number the processes that they start, over all hosts or on one.
_RANKS = (
    *("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK"),
    *("SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"),
)
#: What else they give them.
_MEETING = ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class _Tasks(NamedTuple):
    rank: int
    size: int
    local_rank: int
    local_size: int
    key: str


@dataclass(frozen=True)
class BatchJob:
    """The job that this process belongs to, and its place in it; without a batch system, a process alone.

    Attributes:
        name: What people call the job, such as 17 or 17_3; None outside of a batch system.
        host: What people call the machine.
        rank: Of this process among those that were started together, from 0.
        size: How many were started together.
        local_rank: The same on this machine alone.
        local_size: The same on this machine alone.
        key: One name for all that were started together, and for nobody else, also when the job starts anew;
            can be a file's name. Empty for a process alone.
        lineage: One name for the processes of rank 0 that a launcher starts in place of each other.
        restarts: How often torchrun has started its processes anew.
        array: One name for all tasks of the job array that the job is one of; None if it is of none.
        started_at: When the job started, in seconds since the epoch; None where nobody tells.
        ends_at: When the job must have ended, in seconds since the epoch; None where nobody tells.
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
        """What the variables tell; those that make no sense tell nothing."""
        tasks = _found(environ)
        name = _name(environ)
        return cls(
            name=name,
            host=environ.get("SLURMD_NODENAME") or socket.gethostname(),
            **(tasks._asdict() if tasks else {}),
            lineage=_lineage(environ) or (tasks.key if tasks else None),
            restarts=_number(environ, "TORCHELASTIC_RESTART_COUNT") or 0,
            array=_array(environ),
            started_at=_time(environ, "SLURM_JOB_START_TIME"),
            ends_at=_time(environ, "SLURM_JOB_END_TIME"),
            log=_log() if name else None,
        )

    def time_left_s(self) -> float | None:
        """Seconds until the job must have ended; None where nobody tells."""
        return None if self.ends_at is None else self.ends_at - time.time()


def _found(environ: Mapping[str, str]) -> _Tasks | None:
    # The innermost one alone counts: torchrun may run in a job of submitit, and that in a step of SLURM.
    if "TORCHELASTIC_RUN_ID" in environ:
        return _of_torchrun(environ)
    if "SUBMITIT_LOCAL_JOB_ID" in environ:
        return _of_submitit_local(environ)
    return _of_slurm_step(environ)


def _of_torchrun(environ: Mapping[str, str]) -> _Tasks | None:
    run = environ["TORCHELASTIC_RUN_ID"]
    # The id alone may be that of another run: a new one on one machine is called "none".
    place = (environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT"))
    rank, size, local_rank, local_size = (
        _number(environ, name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    )
    parent = _parent() if size == local_size else ""
    return _tasks(rank, size, local_rank, local_size, "torchrun", run, *place, parent)


def _parent() -> str:
    """One name for all processes that one torchrun has started on this machine."""
    return f"{socket.gethostname()}.{os.getppid()}"


def _of_submitit_local(environ: Mapping[str, str]) -> _Tasks | None:
    job = environ["SUBMITIT_LOCAL_JOB_ID"]
    rank, size = _number(environ, "SUBMITIT_LOCAL_GLOBALID"), _number(environ, "SUBMITIT_LOCAL_NTASKS")
    return _tasks(rank, size, rank, size, "submitit", socket.gethostname(), job)


def _of_slurm_step(environ: Mapping[str, str]) -> _Tasks | None:
    # A batch script has SLURM_NTASKS and SLURM_PROCID too, but it is started once, for all its tasks.
    step = _number(environ, "SLURM_STEP_ID")
    if step is None or step >= _FIRST_SPECIAL_STEP:
        return None
    names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_NODEID")
    rank, size, local_rank, node = (_number(environ, name) for name in names)
    local_size = None if node is None else _tasks_of_node(environ.get("SLURM_STEP_TASKS_PER_NODE", ""), node)
    # A job that was requeued has its number still.
    names = ("SLURM_CLUSTER_NAME", "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
    return _tasks(rank, size, local_rank, local_size, "slurm", *(environ.get(name, "") for name in names))


def _tasks(
    rank: int | None, size: int | None, local_rank: int | None, local_size: int | None, *names: str
) -> _Tasks | None:
    """None for a process alone, and for what cannot be."""
    if rank is None or size is None or local_rank is None or local_size is None:
        return None
    if not (rank < size and local_rank < local_size <= size and size > 1):
        return None
    text = "-".join(names)
    readable = re.sub("[^A-Za-z0-9.-]+", "-", text)[:80].strip("-")
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
    return _Tasks(rank, size, local_rank, local_size, f"{readable}-{digest[:12]}")


def _tasks_of_node(text: str, node: int) -> int | None:
    """How many tasks the step has on its so manieth node; `text` is such as "2(x3),1"."""
    for tasks, times in re.findall(r"(\d{1,9})(?:\(x(\d{1,9})\))?(?:,|$)", text, re.ASCII):
        node -= int(times or 1)
        if node < 0:
            return int(tasks)
    return None


def _name(environ: Mapping[str, str]) -> str | None:
    if local := environ.get("SUBMITIT_LOCAL_JOB_ID"):
        return local
    array, task = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else environ.get("SLURM_JOB_ID") or None


def _lineage(environ: Mapping[str, str]) -> str | None:
    run = environ.get("TORCHELASTIC_RUN_ID")
    if not run:
        return None
    if run == "none":  # an id that nobody has given
        run = _parent()
    return f"torchrun-{run}-{_name(environ) or ''}"


def _array(environ: Mapping[str, str]) -> str | None:
    array = environ.get("SLURM_ARRAY_JOB_ID")
    return array and f"array-{environ.get('SLURM_CLUSTER_NAME', '')}-{array}"


def _time(environ: Mapping[str, str], name: str) -> float | None:
    seconds = _number(environ, name)
    return float(seconds) if seconds and seconds < _NO_TIME else None


def _number(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None


def _log() -> str | None:
    return "\n".join(dict.fromkeys(_output_files())) or None


def _output_files() -> Iterator[str]:
    # Not told by any variable, but SLURM and submitit give a process its log file as its output.
    for number in (1, 2):
        path = Path(f"/proc/self/fd/{number}")
        if path.is_file():
            yield os.readlink(path)


def process_group() -> Any | None:
    """Return torch.distributed, if this process has a process group."""
    group = sys.modules.get("torch.distributed")
    return group if group and group.is_available() and group.is_initialized() else None


def rank_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables by which launchers number processes."""
    return {name: environ[name] for name in _RANKS if name in environ}


def rank_in_trial(owner: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> int:
    """Return the rank of this process among those that a trial started; 0 if nothing numbered them.

    Args:
        owner: The `rank_variables` of the trial's own process: equal ones were only inherited.
        environ: Of this process.
    """
    if group := process_group():
        return int(group.get_rank())
    numbers = [_number(environ, name) for name in _RANKS if environ.get(name) != owner.get(name)]
    return next(filter(None, numbers), 0)


def launch_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """Return all that a launcher which runs in a process sets there, as it is now; None: not set."""
    return {name: environ.get(name) for name in (*_RANKS, *_MEETING)}
