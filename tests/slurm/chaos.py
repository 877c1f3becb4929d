"""A search through a storm: `chaos.py [--trials 150] [--storm 120] [--seed N]`, on a SLURM of its own.

Sixteen workers evaluate trials that save checkpoints, while jobs are requeued, preempted and cancelled,
processes and daemons killed. Then the same command is run until the search has ended, and what the trials
wrote down is held against the ledger. Prints every deed, what became of the attempts, and each fault; fails
if there is one.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.slurm.accounting import Inquest, Killed, accounts_of, events_of, workers_of
from tests.slurm.cluster import Cluster
from tests.slurm.storm import Storm
from tests.slurm.stormy_search import Search
from tests.support import wait_until

#: Seconds that a person waits for the search, and for one of its multiruns.
LONGEST_SEARCH_S = LONGEST_SWEEP_S = 600.0
#: Seconds from one deed to the next, on average, beyond which a storm proves little.
LONGEST_CALM_S = 5.0


def weathered(
    folder: Path, n_trials: int, storm_s: float, seed: int, options: tuple[str, ...] = ()
) -> list[str]:
    """Run a search through a storm.

    Args:
        folder: Of the cluster and of the search.
        n_trials: How many trials the search has.
        storm_s: Seconds of harm.
        seed: Of the storm.
        options: Further overrides for the search.

    Returns:
        The faults that were found, and the kinds of deeds that were not done.
    """
    cluster = Cluster(folder / "cluster")
    search = Search(folder, cluster.conf, n_trials, options)
    cluster.start()
    try:
        search.start()
        wait_until(lambda: events_of(search.record), 120, "the first trial")
        storm = Storm(cluster, search, seed)
        done = storm.rage(storm_s)
        print(f"{len(done)} deeds of seed {seed}; {len(search.jobs())} jobs are left", flush=True)
        faults = list(aftermath(search, storm.killed))
        if len(done) < storm_s / LONGEST_CALM_S:
            faults.append(f"that was no storm: {len(done)} deeds in {storm_s:g} s")
        return faults + [f"never done: {kind}" for kind in storm.deeds if kind not in done]
    finally:
        cluster.stop()
        search.sweeper.kill()


def aftermath(search: Search, killed: Killed) -> Iterator[str]:
    """Let the search come to its end, and tell each fault."""
    yield from finish(search)
    wait_until(lambda: not search.jobs(), 300, "the end of all jobs", pause_s=1.0)
    wait_until(lambda: not search.processes(), 30, "the end of all processes")
    checked = search.run(sys.executable, "-m", "dahps_core", "check", str(search.ledger))
    if "sound" not in checked:
        yield checked
    yield from disorder(search.ledger, killed)
    accounts = accounts_of(search.ledger / "ledger.db")
    inquest = Inquest(events_of(search.record), accounts, killed, search.metrics())
    print(*(f"{count:5} {what}" for what, count in sorted(inquest.counts.items())), sep="\n", flush=True)
    yield from inquest.faults


def disorder(ledger: Path, killed: Killed) -> Iterator[str]:
    """A worker leaves in order, and takes its sign of life with it, unless it is killed."""
    hearts = {path.name for path in (ledger / "heartbeats").iterdir()}
    for name, pid, state in workers_of(ledger / "ledger.db"):
        if pid not in killed.workers and (state != "left" or name in hearts):
            yield f"process {pid}, which nobody killed, is entered as {state}; its heart: {name in hearts}"


def finish(search: Search) -> Iterator[str]:
    """Wait for the sweeper, and run the same command again until nothing is left to run.

    A multirun ends at once where others run, or wait for, all that is left.
    """
    deadline = time.monotonic() + LONGEST_SEARCH_S
    while time.monotonic() < deadline:
        code = search.sweeper.wait(LONGEST_SWEEP_S)
        output = search.output.read_text()
        print(f"The sweeper has ended with {code}: {output.splitlines()[-1]}", flush=True)
        if "Nothing is left to run" in output:
            return
        if "Traceback" in output:
            yield output
        search.start()
    yield f"after {LONGEST_SEARCH_S:g} s the search has not ended: {output}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--storm", type=float, default=120.0, help="seconds of harm")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("options", nargs="*", help="further overrides for the search")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="dahps-chaos-"))
    faults = weathered(folder, arguments.trials, arguments.storm, arguments.seed, tuple(arguments.options))
    print(*faults, f"{len(faults)} faults", sep="\n")
    if faults:
        print(f"What the search has left: {folder}")
    else:
        shutil.rmtree(folder)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
