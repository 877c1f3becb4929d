"""What it costs that each trial has a process of its own.

In a process that has torch imported, as a worker's has from the app: a forked child, beside a fresh
interpreter that has to import torch itself. And the whole of an empty trial of Hydra's, from one claim to the
next: claim, composition, fork, record. Medians, with the ratio to the child.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch

from dahps_core.process.trial_process import Child

APP = Path(__file__).parents[1] / "apps" / "empty.py"
N_FORKS = 50
N_INTERPRETERS = 5
N_TRIALS = 30


def median_s(function: Callable[[], None], times: int) -> float:
    """Seconds that a call takes."""
    seconds = []
    for _ in range(times):
        started = time.monotonic()
        function()
        seconds.append(time.monotonic() - started)
    return statistics.median(seconds)


def fork() -> None:
    with Child(lambda: (1.0, float(torch.ones(1).sum()))) as child:
        child.wait()
        answer = child.end()
    assert answer.metric == 1.0, answer.error


def interpret() -> None:
    subprocess.run(
        [sys.executable, "-c", "import torch; print(float(torch.ones(1)))"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def empty_trial_s() -> float:
    """Seconds from one claim of a worker to its next."""
    with tempfile.TemporaryDirectory() as folder:
        sweep = ["hydra/sweeper=dahps", "hydra/launcher=submitit_local"]
        options = ["hydra.sweeper.n_workers=1", "hydra.sweeper.ledger=ledger"]
        subprocess.run(
            [sys.executable, APP, "-m", f"+x=range({N_TRIALS})", *sweep, *options],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        export = [sys.executable, "-m", "dahps_core", "trials", "ledger", "--format=json"]
        trials = json.loads(subprocess.check_output(export, cwd=folder))
    started = sorted(trial["started_at"] for trial in trials)
    return statistics.median(later - earlier for earlier, later in pairwise(started))


def main() -> int:
    child = median_s(fork, N_FORKS)
    rows = {
        "a forked child, torch being imported": child,
        "a fresh interpreter that imports torch": median_s(interpret, N_INTERPRETERS),
        "an empty trial, from claim to claim": empty_trial_s(),
    }
    for what, seconds in rows.items():
        print(f"{what:<40}{1000 * seconds:8.1f} ms  {seconds / child:6.1f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
