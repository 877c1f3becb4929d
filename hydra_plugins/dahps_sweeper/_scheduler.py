"""Queries of SLURM: which jobs of a multirun exist, and how large an array may be.

The ledger has the states of the trials. Only SLURM knows which jobs are queued, or requeued:
no worker lives then, and the search is not over.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Collection

#: Seconds after which a scheduler that does not answer is not waited for.
TIMEOUT_S = 20.0
#: How many tasks an array may have on any SLURM: by default it is one more.
USUAL_ARRAY_SIZE = 1000


def jobs_in_queue(batches: Callable[[], Collection[str]]) -> Counter[str] | None:
    """Return how many jobs exist of each kind, such as "pending (Priority)"; those that have ended do not
    count.

    Args:
        batches: Gives the ids of arrays, each of which is many jobs, and of single jobs.

    Returns:
        None if that is not known: `squeue` is missing, fails, or does not answer.
    """
    ids = ",".join(batches())
    if not ids:
        return None
    output, complaint = _answer("squeue", "--noheader", "--array", f"--jobs={ids}", "--format=%T %r")
    if complaint is None:
        return Counter(map(_kind, output.splitlines()))
    # Some minutes after the end of a job SLURM has forgotten it.
    return Counter() if "Invalid job id" in complaint else None


def largest_array() -> int:
    """Return how many tasks a job array may have here."""
    output, _ = _answer("scontrol", "show", "config")
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", output, re.MULTILINE)
    return max(1, int(found[1])) if found else USUAL_ARRAY_SIZE


def _kind(line: str) -> str:
    state, _, reason = line.strip().partition(" ")
    return state.lower() + (f" ({reason})" if reason not in ("", "None") else "")


def _answer(*command: str) -> tuple[str, str | None]:
    """Return a command's output, and its complaint if it fails."""
    # A user's SQUEUE_STATES and the like are for the screen.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    return done.stdout, done.stderr if done.returncode else None
