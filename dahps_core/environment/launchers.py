"""By which launcher a process was started, and as which rank; no other module reads their variables."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dahps_core.environment.ancestors import Origin, origin
from dahps_core.errors import ConfigurationError

#: From here on SLURM counts what is no step that `srun` started: batch scripts, interactive shells.
_FIRST_SPECIAL_STEP = 0xFFFFFFF0


#: By these, launchers number the processes that they start, over all hosts or on one.
_RANKS = (
    *("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK"),
    *("SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"),
)
#: What else they give them.
_MEETING = ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Tasks(NamedTuple):
    """A process's place among those that were started with it, as in `BatchJob`; by default it is alone."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    key: str = ""


def found(environ: Mapping[str, str]) -> Tasks:
    """Find the process's place by its innermost launcher: torchrun may run in a step of SLURM, or in mpirun.

    Raises:
        ConfigurationError: A rank that a person may have set is none of its group.
    """
    there = [launcher for launcher in _LAUNCHERS if all(map(environ.get, launcher.variables))]
    if len(there) > 1:
        there.sort(key=lambda launcher: _origin(environ, launcher.variables).distance)
    read = (launcher.read(environ) for launcher in there)
    tasks = next((tasks for tasks in read if tasks), Tasks())
    if tasks.size > 1 and not tasks.key:
        # The same ranks by other names, perhaps: `srun sh -c 'RANK=$SLURM_PROCID ... python train.py'`.
        same = (other for other in read if other and other.key and other[:2] == tasks[:2])
        return next(same, tasks)
    return tasks


def _origin(environ: Mapping[str, str], names: tuple[str, ...]) -> Origin:
    return origin((name, environ[name]) for name in names if name in environ)


def _of_torchrun(environ: Mapping[str, str]) -> Tasks:
    run = environ["TORCHELASTIC_RUN_ID"]
    # The id alone may be that of another run: a new one on one machine is called "none".
    place = (environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT"))
    rank, size, local_rank, local_size = (
        number(environ, name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    )
    parent = starter_of_torchrun(environ) if size == local_size else ""
    return _tasks(rank, size, local_rank, local_size, "torchrun", run, *place, parent)


def starter_of_torchrun(environ: Mapping[str, str]) -> str:
    """Return one name for all processes that one torchrun has started on this machine."""
    return _starter(environ, _TORCHRUN)


def _starter(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return f"{socket.gethostname()}.{_origin(environ, names).name}"


def _of_submitit_local(environ: Mapping[str, str]) -> Tasks:
    job = environ["SUBMITIT_LOCAL_JOB_ID"]
    rank, size = number(environ, "SUBMITIT_LOCAL_GLOBALID"), number(environ, "SUBMITIT_LOCAL_NTASKS")
    return _tasks(rank, size, rank, size, "submitit", socket.gethostname(), job)


def _of_slurm_step(environ: Mapping[str, str]) -> Tasks | None:
    # A batch script has SLURM_NTASKS and SLURM_PROCID too, but it is started once, for all its tasks.
    step = number(environ, "SLURM_STEP_ID")
    if step is None or step >= _FIRST_SPECIAL_STEP:
        return None
    names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_NODEID")
    rank, size, local_rank, node = (number(environ, name) for name in names)
    local_size = None if node is None else _tasks_of_node(environ.get("SLURM_STEP_TASKS_PER_NODE", ""), node)
    # A job that was requeued has its number still.
    names = ("SLURM_CLUSTER_NAME", "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
    return _tasks(rank, size, local_rank, local_size, "slurm", *(environ.get(name, "") for name in names))


def _of_env(environ: Mapping[str, str]) -> Tasks:
    # What torch's env:// reads: set by DeepSpeed's launcher, by operators of Kubernetes, and by people.
    local_rank = number(environ, "LOCAL_RANK")
    local_size = number(environ, "LOCAL_WORLD_SIZE") or number(environ, "LOCAL_SIZE")
    if re.match(r"localhost$|127\.|::1$", environ.get("MASTER_ADDR", "")):
        local_rank, local_size = (number(environ, name) for name in _ENV)
    return _declared(environ, _ENV, local_rank, local_size)


def _of_openmpi(environ: Mapping[str, str]) -> Tasks:
    local_rank, local_size = (number(environ, f"OMPI_COMM_WORLD_LOCAL_{name}") for name in ("RANK", "SIZE"))
    # The first is random, but some people export it; the second is made of mpirun's host and process number.
    ids = (environ.get(name, "") for name in ("OMPI_MCA_orte_precondition_transports", "PMIX_NAMESPACE"))
    return _declared(environ, _OPENMPI, local_rank, local_size, *ids)


def _of_pmi(environ: Mapping[str, str]) -> Tasks:
    # The process manager of MPICH and Intel MPI gives its jobs no id.
    local_rank, local_size = (number(environ, name) for name in ("MPI_LOCALRANKID", "MPI_LOCALNRANKS"))
    return _declared(environ, _PMI, local_rank, local_size)


def _declared(
    environ: Mapping[str, str],
    names: tuple[str, str],
    local_rank: int | None,
    local_size: int | None,
    *ids: str,
) -> Tasks:
    """Return the place that two variables declare, a rank and a size, and the group of these ids, if it has
    any.
    """
    rank, size = (number(environ, name) for name in names)
    if rank is None or size is None or rank >= size:
        # Not ignored: each process would search on its own where all are to train together.
        given = " and ".join(f"{name}={environ[name][:40]!r}" for name in names)
        raise ConfigurationError(
            f"{given} contradict each other",
            where="environment",
            hint=f"Set {names[0]} to a number from 0 to {names[1]} - 1, or unset both",
        )
    if local_rank is None or local_size is None or not local_rank < local_size <= size:
        local_rank, local_size = 0, 1
    if not any(ids):
        ids = (_starter(environ, names),) if local_size == size else _meeting_point(environ)
    tasks = _tasks(rank, size, local_rank, local_size, names[0], *ids)
    return tasks if ids else tasks._replace(key="")


def _meeting_point(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return where torch's processes meet, which only one group can do at a time; empty if unset."""
    address, port = environ.get("MASTER_ADDR"), environ.get("MASTER_PORT")
    job = (environ.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT"))
    return (address, port, *job) if address and port else ()


def _tasks(
    rank: int | None, size: int | None, local_rank: int | None, local_size: int | None, *names: str
) -> Tasks:
    """Return the place in the step; that of a single process where the values are impossible."""
    if rank is None or size is None or local_rank is None or local_size is None:
        return Tasks()
    if not (rank < size and local_rank < local_size <= size and size > 1):
        return Tasks()
    text = "-".join(names)
    readable = re.sub("[^A-Za-z0-9.-]+", "-", text)[:80].strip("-")
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
    return Tasks(rank, size, local_rank, local_size, f"{readable}-{digest[:12]}")


def _tasks_of_node(text: str, node: int) -> int | None:
    """Return the tasks on the node with this number (from 0); `text` is such as "2(x3),1"."""
    for tasks, times in re.findall(r"(\d{1,9})(?:\(x(\d{1,9})\))?(?:,|$)", text, re.ASCII):
        node -= int(times or 1)
        if node < 0:
            return int(tasks)
    return None


_TORCHRUN = ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", "MASTER_PORT")
_SUBMITIT_LOCAL = ("SUBMITIT_LOCAL_JOB_ID", "SUBMITIT_LOCAL_GLOBALID", "SUBMITIT_LOCAL_NTASKS")
_SLURM_STEP = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_PROCID")
_ENV = ("RANK", "WORLD_SIZE")
_OPENMPI = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")
_PMI = ("PMI_RANK", "PMI_SIZE")


class _Launcher(NamedTuple):
    """A launcher by which a process may have been started.

    Attributes:
        variables: A process that it started has all of these. (RANK alone can mean anything, and WORLD_SIZE
            alone is what Lightning leaves in a process of which it starts the other ranks.)
        read: Returns the place that they give; None if they are not about this process.
    """

    variables: tuple[str, ...]
    read: Callable[[Mapping[str, str]], Tasks | None]


#: If the variables of several come from one process, the first counts: it sets those of others too (torchrun
#: RANK, `srun` PMI_RANK), or passes on what it was given.
_LAUNCHERS = (
    _Launcher(_TORCHRUN, _of_torchrun),
    _Launcher(_SUBMITIT_LOCAL, _of_submitit_local),
    _Launcher(_SLURM_STEP, _of_slurm_step),
    _Launcher(_ENV, _of_env),
    _Launcher(_OPENMPI, _of_openmpi),
    _Launcher(_PMI, _of_pmi),
)


def number(environ: Mapping[str, str], name: str) -> int | None:
    """Return a variable as a number from 0; None if it is not set, or is none."""
    text = environ.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None


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
    numbers = [number(environ, name) for name in _RANKS if environ.get(name) != owner.get(name)]
    return next(filter(None, numbers), 0)


def launch_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """Return all that a launcher which runs in a process sets there, as it is now; None: not set."""
    return {name: environ.get(name) for name in (*_RANKS, *_MEETING)}
