"""Which processes were started together, on which hosts: by SLURM, or found out in the folder itself."""

from __future__ import annotations

import hashlib
import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dahps_core.errors import ConfigurationError, LedgerUnavailableError

#: Of what the doctor makes in the folder; it removes all of it.
PREFIX = ".dahps-doctor-"
#: Between two heartbeats while gathering, in seconds.
BEAT_S = 0.2


@dataclass(frozen=True)
class Party:
    """The processes that were started together.

    Attributes:
        rank: Which of them this is, from 0.
        size: How many there are.
        name: Of the folder in which they work; the same for all of them and for no others.
    """

    rank: int
    size: int
    name: str


def alone() -> Party:
    """Return a party of one."""
    return Party(0, 1, f"{PREFIX}{uuid.uuid4().hex[:12]}")


def party_of_slurm(environment: Mapping[str, str]) -> Party | None:
    """Return the tasks of a SLURM step; None outside of one: a batch script is started once, for
    all tasks.
    """
    step = environment.get("SLURM_STEP_ID", "")
    if not step.isdecimal() or int(step) >= 0xFFFFFFF0:  # the numbers of batch scripts and the like
        return None
    try:
        size = int(environment.get("SLURM_STEP_NUM_TASKS") or environment["SLURM_NTASKS"])
        rank = int(environment["SLURM_PROCID"])
        # A job that was requeued has its number still, and may have been killed before it could tidy up.
        again = environment.get("SLURM_RESTART_COUNT", "0")
        name = f"{PREFIX}{environment['SLURM_JOB_ID']}.{step}.{again}"
        return Party(rank, size, name) if size > 1 else None
    except (KeyError, ValueError):
        return None


def host() -> dict[str, str]:
    """Identify this host: its name, for people, and its identity (two names may be one kernel)."""
    name = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    try:
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        kernel = socket.gethostname()
    return {"name": name, "kernel": kernel}


class Gathering:
    """Commands started by hand, one on each host, that find each other in the folder.

    Each has an entry there whose name changes all the time: one that does not change was left behind by a
    command that was killed.

    Args:
        folder: Where they meet.
        size: How many are to come.
    """

    def __init__(self, folder: Path, size: int) -> None:
        if size < 1:
            raise ConfigurationError(f"--together {size} cannot be", hint="Give the number of hosts, from 1")
        self._folder = folder / f"{PREFIX}of-{size}"
        self._size = size
        self._id = uuid.uuid4().hex
        self._beats = 0
        self._beaten_at = 0.0
        self._seen: dict[str, str] = {}
        self._alive = {self._id}

    def party(self, wait_s: float) -> Party:
        """Wait until all have joined, at most `wait_s` seconds. Keep beating until all have seen it."""
        self._folder.mkdir(exist_ok=True)
        self._entry(0).touch()
        _await(lambda: self._look() >= self._size, wait_s, self._too_few, self.beat)
        if len(self._alive) > self._size:
            raise LedgerUnavailableError(
                f"{len(self._alive)} processes joined; expected {self._size}",
                where=str(self._folder),
                hint="Start one on each host, and only one doctor in a folder at a time",
            )
        ids = sorted(self._alive)
        name = hashlib.sha256(" ".join(ids).encode()).hexdigest()[:12]
        return Party(ids.index(self._id), self._size, f"{PREFIX}{name}")

    def beat(self) -> None:
        """Touch the file if a heartbeat is due."""
        if time.monotonic() - self._beaten_at > BEAT_S:
            os.rename(self._entry(self._beats), self._entry(self._beats + 1))
            self._beats += 1
            self._beaten_at = time.monotonic()

    def leave(self) -> None:
        """Remove the entry; the last one removes the place."""
        with suppress(OSError):
            self._entry(self._beats).unlink(missing_ok=True)
        with suppress(OSError):
            self._folder.rmdir()

    def _entry(self, beat: int) -> Path:
        return self._folder / f"{self._id}.{beat}"

    def _look(self) -> int:
        with suppress(FileNotFoundError):
            for entry in os.listdir(self._folder):
                name, _, beat = entry.partition(".")
                if self._seen.setdefault(name, beat) != beat:
                    self._alive.add(name)
        return len(self._alive)

    def _too_few(self, wait_s: float) -> LedgerUnavailableError:
        return LedgerUnavailableError(
            f"only {len(self._alive)} of {self._size} processes arrived within {wait_s:g} s",
            where=str(self._folder.parent),
            hint="Start the same command on all hosts, with the same folder; --wait SECONDS waits longer",
        )


def _await(
    is_done: Callable[[], bool],
    limit_s: float,
    too_late: Callable[[float], Exception],
    while_waiting: Callable[[], None],
) -> None:
    deadline = time.monotonic() + limit_s
    while not is_done():
        if time.monotonic() > deadline:
            raise too_late(limit_s)
        while_waiting()
        time.sleep(BEAT_S / 4)
