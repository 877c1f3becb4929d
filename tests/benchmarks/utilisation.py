"""How busy a search keeps its slots: 64 trials of heavy-tailed length on the 16 slots that `sinfo` shows.

DAHPS beside Hydra's basic sweeper, both in the same order, and hydra-optuna-sweeper (its grid, in batches of
16), all by the unmodified submitit launcher, in one run. Each is held against the list-scheduling bound of
the order in which its trials began: what they take on 16 slots that are free at once, each taking the next
trial as soon as it can. Beside them what Hydra, the launcher and SLURM take by themselves: 16 jobs of the
basic sweeper that only sleep as long as that bound.

Prints for each the bound, the wall time of the whole command and its ratio to the bound, the same from the
first trial's start to the last one's end, and where the rest of the time went: until the first trial starts,
until all slots have started one, between two trials of one job, from the last trial's end to the command's.
With --own only DAHPS and the bare jobs. Says whether its command takes at most 1.25 times its bound, which
where few cores start 16 interpreters the bare jobs may not do either.
"""

import argparse
import heapq
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from peers import python_with
from stress import verdict

APP = Path(__file__).parents[1] / "apps" / "sleeper.py"
N_TRIALS = 64
N_SLOTS = 16
#: A search of 25 s: in a shorter one there is little to be seen but the start of 16 interpreters.
SEED = 3
LARGEST_RATIO = 1.25
#: It needs an Optuna of its own, older than the one that the ledger is held against.
OPTUNA_SWEEPER = ("hydra-optuna-sweeper==1.2.0", "hydra-core==1.3.8", "hydra-submitit-launcher==1.2.0")
OPTUNA_ENVIRONMENT = Path(__file__).parents[2] / ".benchmarks" / "hydra-optuna"

ALL = ",".join(map(str, range(N_TRIALS)))
SWEEPERS = {
    "dahps": [
        "hydra/sweeper=dahps",
        "hydra.sweeper.strategy.name=grid",
        f"+x=range({N_TRIALS})",
        f"hydra.sweeper.n_workers={N_SLOTS}",
    ],
    "bare": [
        "hydra/sweeper=basic",
        f"+x=range({N_SLOTS})",
    ],
    "basic": [
        "hydra/sweeper=basic",
        f"+x=range({N_TRIALS})",
        f"hydra.launcher.array_parallelism={N_SLOTS}",
    ],
    "optuna": [
        "hydra/sweeper=optuna",
        "hydra/sweeper/sampler=grid",
        f"+x=choice({ALL})",
        f"hydra.sweeper.n_trials={N_TRIALS}",
        f"hydra.sweeper.n_jobs={N_SLOTS}",
    ],
}
ROW = "{:>7}  {:>7}  {:>8}  {:>6}  {:>8}  {:>6}  {:>11}  {:>9}  {:>10}  {:>7}"
HEAD = ("", "bound", "command", ": bd", "trials", ": bd", "first start", "all slots", "median gap", "end")


@dataclass(frozen=True)
class Run:
    """One trial; times in seconds by the machine's monotonic clock."""

    started: float
    ended: float
    lasts_s: float
    job: str


@dataclass(frozen=True)
class Sweep:
    """One command, and the trials that it ran in the order of their starts."""

    began: float
    ended: float
    runs: list[Run]

    @property
    def bound_s(self) -> float:
        """Seconds that the trials take in this order on slots that never wait."""
        free = [0.0] * N_SLOTS
        for run in self.runs:
            heapq.heapreplace(free, free[0] + run.lasts_s)
        return max(free)

    @property
    def ratio(self) -> float:
        return (self.ended - self.began) / self.bound_s

    def row(self, name: str) -> str:
        first, last = self.runs[0].started, max(run.ended for run in self.runs)
        gaps = self._gaps_s()
        return ROW.format(
            name,
            f"{self.bound_s:.1f} s",
            f"{self.ended - self.began:.1f} s",
            f"{self.ratio:.2f}",
            f"{last - first:.1f} s",
            f"{(last - first) / self.bound_s:.2f}",
            f"{first - self.began:.1f} s",
            f"{self._all_slots_s():.1f} s",
            f"{1000 * statistics.median(gaps):.0f} ms" if gaps else "",
            f"{self.ended - last:.1f} s",
        )

    def _all_slots_s(self) -> float:
        """Seconds from the first start until as many trials have started as there are slots."""
        return self.runs[N_SLOTS - 1].started - self.runs[0].started

    def _gaps_s(self) -> list[float]:
        by_job = defaultdict(list)
        for run in self.runs:
            by_job[run.job].append(run)
        return [after.started - before.ended for runs in by_job.values() for before, after in pairwise(runs)]


def swept(name: str, python: str, *more: str) -> Sweep:
    """Run the command, with more overrides."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record"
        common = ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=10", f"+seed={SEED}"]
        command = [python, APP, "-m", *common, f"+record={record}", *SWEEPERS[name], *more]
        # Modules are compiled where a person installs them; a checkout's own are once, if they may be.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        # A slot is one CPU. Nothing here keeps a job to it, and numpy, which submitit imports, starts as many
        # threads as the machine has CPUs: a third of what an interpreter's start costs.
        environment["OMP_NUM_THREADS"] = "1"
        began = time.monotonic()
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        ended = time.monotonic()
        runs = [Run(**json.loads(line)) for line in record.read_text().splitlines()]
    assert len(runs) == (N_SLOTS if name == "bare" else N_TRIALS)
    return Sweep(began, ended, sorted(runs, key=lambda run: run.started))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--own", action="store_true", help="only DAHPS and the bare jobs")
    pythons = {"dahps": sys.executable, "bare": sys.executable}
    if not parser.parse_args().own:
        pythons["basic"] = sys.executable
        if optuna := python_with(OPTUNA_SWEEPER, OPTUNA_ENVIRONMENT):
            pythons["optuna"] = optuna
    print(ROW.format(*HEAD))
    sweeps: dict[str, Sweep] = {}
    for name, python in pythons.items():
        more = [f"+lasts_s={sweeps['dahps'].bound_s}"] if name == "bare" else []
        sweeps[name] = swept(name, python, *more)
        print(sweeps[name].row(name), flush=True)
    own, bare = sweeps["dahps"].ratio, sweeps["bare"].ratio
    print(f"dahps: {own:.2f} of the bound, at most {LARGEST_RATIO}: {verdict(own <= LARGEST_RATIO)}")
    print(f"16 jobs that only sleep: {bare:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
