"""A search on a cluster, as a person runs it, and what a person can see of its jobs and processes."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import reduce
from pathlib import Path

from dahps_core.space.overrides import to_overrides
from tests.apps.checkpointing import trained
from tests.slurm.cluster import arguments_of, environment_of, parent_of

APP = Path(__file__).parents[1] / "apps" / "checkpointing.py"
N_STEPS = 10
#: In the environment of the sweepers and of all that comes of them.
MARK = "DAHPS_TEST_SEARCH"


class Search:
    """The checkpointing app, searched in a folder of its own.

    Args:
        folder: Of the ledger, the record, the output.
        conf: The cluster's slurm.conf.
        n_trials: How many trials it has; 12 s each.
        options: Further overrides.

    Attributes:
        sweeper: The multirun that was started last.
    """

    def __init__(self, folder: Path, conf: Path, n_trials: int, options: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.n_trials = n_trials
        self.ledger = folder / "ledger"
        self.record = folder / "record.jsonl"
        self.sweeper: subprocess.Popen[bytes]
        self._environment = {**os.environ, "SLURM_CONF": str(conf), MARK: str(folder)}
        self._n_sweeps = 0
        self._options = (
            f"x=range({n_trials})",
            f"n_steps={N_STEPS}",
            *to_overrides({"record": str(self.record), "hydra.sweeper.ledger": str(self.ledger)}),
            "hydra/sweeper=dahps",
            "hydra/launcher=submitit_slurm",
            "hydra.launcher.timeout_min=60",
            "hydra.sweeper.n_workers=16",
            "hydra.sweeper.heartbeat=0.5",
            "hydra.sweeper.lease=8",
            "hydra.sweeper.grace=4",
            "hydra.sweeper.max_attempts=1000",
            "hydra.sweeper.stop_after_failures=null",
            *options,
        )

    def start(self) -> None:
        """Start a multirun: the same command each time, but for the folder of its output."""
        self._n_sweeps += 1
        sweep_dir = to_overrides({"hydra.sweep.dir": str(self.folder / f"sweep{self._n_sweeps}")})
        with self.output.open("wb") as output:
            self.sweeper = subprocess.Popen(
                [sys.executable, APP, "-m", *self._options, *sweep_dir],
                cwd=self.folder,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def metrics(self) -> list[float]:
        """What the trials return that make each step once, in order."""
        return [reduce(trained, [x] * N_STEPS, 0) for x in range(self.n_trials)]

    @property
    def output(self) -> Path:
        """What the multirun that was started last has printed."""
        return self.folder / f"output{self._n_sweeps}.txt"

    def run(self, *command: str, timeout_s: float = 120.0) -> str:
        """What a command prints that may find its target gone.

        Raises:
            subprocess.TimeoutExpired: If it takes longer than so many seconds; it is ended then.
        """
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        return done.stdout + done.stderr

    def jobs(self, *filters: str) -> list[str]:
        """The ids of the cluster's jobs that wait or run."""
        return self.run("squeue", "--noheader", "--format=%i", "--array", *filters).split()

    def processes(self) -> list[int]:
        """All processes of the search, on whatever node."""
        mark = os.fsencode(f"{MARK}={self.folder}")
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return [pid for pid in pids if mark in environment_of(pid) and parent_of(pid) is not None]

    def workers(self, job: str = "") -> list[int]:
        """The processes that submitit's jobs run, or one job; srun has their command in its own, too."""
        commands = {pid: arguments_of(pid) for pid in self.processes() if not job or _job_of(pid) == job}
        found = {
            pid
            for pid, command in commands.items()
            if "submitit.core._submit" in command and command[0] != "srun"
        }
        return [pid for pid in found if parent_of(pid) not in found]

    def trials(self) -> list[int]:
        """The processes that evaluate trials: the workers' children."""
        workers = set(self.workers())
        return [pid for pid in self.processes() if parent_of(pid) in workers]


def _job_of(pid: int) -> str:
    variables = dict(os.fsdecode(line).partition("=")[::2] for line in environment_of(pid))
    return "_".join(variables.get(f"SLURM_ARRAY_{name}_ID", "") for name in ("JOB", "TASK"))
