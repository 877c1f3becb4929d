"""What happens to jobs on a bad day: the deeds of the chaos test, each on a target drawn at random."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from tests.slurm.accounting import Killed
from tests.slurm.cluster import CONTROLLER, NODES, Cluster, daemon_of, parent_of
from tests.slurm.stormy_search import Search

#: Seconds between two deeds, at least and at most.
PAUSE_S = (1.0, 3.0)
#: Seconds after which a command is given up: scancel tries a job whose state is about to change for 95 s.
PATIENCE_S = 5.0
#: Seconds for which a daemon is down.
OUTAGE_S = 3.0


class Storm:
    """Does harm to a search on a cluster.

    Args:
        seed: Of the order of the deeds, of their pauses and targets.

    Attributes:
        killed: What it has killed so far.
    """

    def __init__(self, cluster: Cluster, search: Search, seed: int) -> None:
        self.killed = Killed()
        self._cluster = cluster
        self._search = search
        self._random = random.Random(seed)
        self.deeds: dict[str, Callable[[], str | None]] = {
            "preempt": self._preempt,
            "requeue": lambda: self._tell("scontrol", "requeue"),
            "cancel a job": lambda: self._tell("scancel"),
            "SIGUSR2": lambda: self._tell("scancel", "--signal=USR2"),
            "SIGKILL a step": self._kill_step,
            "SIGKILL a worker": self._kill_worker,
            "SIGKILL a trial": self._kill_trial,
            "SIGKILL slurmd": self._kill_slurmd,
            "restart slurmctld": self._restart_controller,
            "SIGKILL the sweeper": self._kill_sweeper,
        }

    def rage(self, seconds: float) -> list[str]:
        """Do harm for so long, and print every deed; each kind comes once before any comes again.

        Returns:
            The kinds of deeds that were done.
        """
        began = time.monotonic()
        done = []
        for kind in self._kinds():
            time.sleep(self._random.uniform(*PAUSE_S))
            if time.monotonic() - began > seconds:
                return done
            target = self.deeds[kind]()
            print(f"{time.monotonic() - began:6.1f} s  {kind}: {target or 'in vain'}", flush=True)
            done += [kind] if target else []
        raise AssertionError("unreachable")

    def _kinds(self) -> Iterator[str]:
        while True:
            yield from self._random.sample(list(self.deeds), len(self.deeds))

    def _preempt(self) -> str | None:
        n_nodes, seconds = self._random.choice((1, 2)), self._random.randint(3, 6)
        hold = ["--exclusive", "--output=/dev/null", f"--nodes={n_nodes}", f"--wrap=sleep {seconds}"]
        is_done = self._do("sbatch", "--partition=urgent", *hold)
        return f"{n_nodes} nodes for {seconds} s" if is_done else None

    def _tell(self, *command: str) -> str | None:
        job = self._running_job()
        return job if job and self._do(*command, job) else None

    def _do(self, *command: str) -> bool:
        """Whether the command has ended in time."""
        try:
            self._search.run(*command, timeout_s=PATIENCE_S)
        except subprocess.TimeoutExpired:
            print(f"          {' '.join(command)} takes too long", flush=True)
            return False
        return True

    def _running_job(self) -> str | None:
        jobs = self._search.jobs("--states=RUNNING", "--partition=main")
        return self._random.choice(jobs) if jobs else None

    def _kill_step(self) -> str | None:
        job = self._running_job()
        workers = self._search.workers(job) if job else []
        if not workers or not self._do("scancel", "--signal=KILL", f"{job}.0"):
            return None
        self._note_workers(*workers)
        return job

    def _kill_worker(self) -> str | None:
        return self._kill(self._search.workers(), self._note_workers)

    def _kill_trial(self) -> str | None:
        return self._kill(self._search.trials(), lambda pid: self.killed.trials_of.add(parent_of(pid) or 0))

    def _note_workers(self, *pids: int) -> None:
        self.killed.workers.update(dict.fromkeys(pids, time.monotonic()))

    def _kill(self, pids: list[int], note: Callable[[int], None]) -> str | None:
        if not pids:
            return None
        pid = self._random.choice(pids)
        note(pid)  # first: of one that has ended nobody knows the parent
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return f"process {pid}"

    def _kill_slurmd(self) -> str:
        node = self._random.choice(NODES)
        self._outage(*daemon_of(node), by=signal.SIGKILL)
        return node

    def _restart_controller(self) -> str:
        self._outage(*CONTROLLER, by=signal.SIGTERM)
        return "the controller"

    def _outage(self, *daemon: str, by: signal.Signals) -> None:
        self._cluster.end_daemon(*daemon, by=by)
        time.sleep(OUTAGE_S)
        self._cluster.start_daemon(*daemon)

    def _kill_sweeper(self) -> str:
        self._search.sweeper.kill()
        self._search.sweeper.wait()
        self._search.start()
        return f"another one is process {self._search.sweeper.pid}"
