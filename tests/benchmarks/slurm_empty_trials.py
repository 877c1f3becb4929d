"""64 empty trials on the SLURM that `sinfo` shows: DAHPS beside Hydra's basic sweeper, in one run.

Prints the wall times and their ratio, and whether DAHPS takes at most half of the basic sweeper's time.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stress import verdict

APP = Path(__file__).parents[1] / "apps" / "empty.py"
N_TRIALS = 64
N_SLOTS = 16
LARGEST_RATIO = 0.5

SWEEPERS = {
    "basic": ["hydra/sweeper=basic", f"hydra.launcher.array_parallelism={N_SLOTS}"],
    "dahps": ["hydra/sweeper=dahps", "hydra.sweeper.ledger=ledger", f"hydra.sweeper.n_workers={N_SLOTS}"],
}


def wall_time_s(sweeper: str) -> float:
    """Seconds from the command to the end of its last trial."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            APP,
            "-m",
            "hydra/launcher=submitit_slurm",
            "hydra.launcher.timeout_min=10",
        ]
        started = time.monotonic()
        subprocess.run(
            [*command, f"+x=range({N_TRIALS})", *SWEEPERS[sweeper]],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        return time.monotonic() - started


def main() -> None:
    seconds = {sweeper: wall_time_s(sweeper) for sweeper in SWEEPERS}
    ratio = seconds["dahps"] / seconds["basic"]
    for sweeper, wall in seconds.items():
        print(f"{sweeper:>6}: {N_TRIALS} empty trials on {N_SLOTS} slots in {wall:5.1f} s")
    print(f" ratio: {ratio:.2f} (at most {LARGEST_RATIO}): {verdict(ratio <= LARGEST_RATIO)}")


if __name__ == "__main__":
    main()
