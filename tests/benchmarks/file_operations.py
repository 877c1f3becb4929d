"""How many operations a second a search of 1,000 workers asks of the shared storage.

Counted are the calls of single processes on files of the ledger, by a preloaded library: a worker with
trials of 60 s, a worker that waits, and a sweeper, while 1,000 workers give signs of life and end a trial
each minute; then a sweeper while nothing happens. What 1,000 workers make is arithmetic.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stress import LIMITS, SEARCH, claim, finished, register

from dahps_core import Ledger
from dahps_core.ledger.folder.heartbeat import Heart
from dahps_core.worker.worker import Job, Worker, WorkerOptions
from hydra_plugins.dahps_sweeper._launch import Launch
from hydra_plugins.dahps_sweeper._progress import ProgressDisplay
from hydra_plugins.dahps_sweeper._waiting import Doubt, wait_for_workers
from hydra_plugins.dahps_sweeper._watch import Watch
from tests.faults.storage import FaultyStorage

N_WORKERS = 1000
TRIAL_S = 60.0
HEARTBEAT_S = 15.0
LEASE_S = 120.0
#: Not counted: processes start, and observers look at all hearts until they have seen one beat.
START_S = 40.0
BUSY_S = 120.0
QUIET_S = 60.0
#: What changes something, which no client's cache answers.
CHANGING = ("create", "write", "fsync", "truncate", "unlink", "rename", "mkdir", "link", "utime", "chmod")


class Stage:
    """1,000 workers on one ledger, of which nothing is counted.

    Args:
        folder: The ledger's.
    """

    def __init__(self, folder: Path) -> None:
        self._ledger = Ledger.join(folder, SEARCH)
        self._workers = [register(self._ledger) for _ in range(N_WORKERS)]
        self._claims = [claim(self._ledger, worker) for worker in self._workers]
        self._hearts = [Heart(folder, worker, LEASE_S) for worker in self._workers]
        for heart in self._hearts:
            heart.beat()

    @contextmanager
    def acting(self, *acts):
        """While inside, each act is done for one worker after the other; an act is (function, seconds)."""
        ended = threading.Event()
        threads = [threading.Thread(target=self._in_turn, args=(*act, ended)) for act in acts]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()

    def _in_turn(self, act, every_s: float, ended: threading.Event) -> None:
        due = time.monotonic()
        while True:
            for number in range(N_WORKERS):
                due += every_s / N_WORKERS
                if ended.wait(max(0.0, due - time.monotonic())):
                    return
                act(number)

    def beat(self, number: int) -> None:
        self._hearts[number].beat()

    def end_a_trial(self, number: int) -> None:
        after = finished(self._claims[number])
        self._claims[number] = claim(self._ledger, self._workers[number], after)


def work(folder: str, max_trials: int | None) -> None:
    """A worker with trials of 60 s; with a budget that is spent, it waits for what may come back."""
    options = WorkerOptions(
        **{**LIMITS, "max_trials": max_trials}, heartbeat_s=HEARTBEAT_S, lease_s=LEASE_S, isolate=True
    )
    job = Job(evaluate=lambda: time.sleep(TRIAL_S), output_dir=folder)
    Worker(Ledger.join(folder, SEARCH, create=False), "bench", lambda trial: job, options).work()


class Pending:
    """Stands in for a launcher whose jobs run."""

    def launch(self, job_overrides, initial_job_idx):
        threading.Event().wait()


def supervise(folder: str) -> None:
    """What a sweeper does while its workers work."""
    options = WorkerOptions(**LIMITS, heartbeat_s=HEARTBEAT_S, lease_s=LEASE_S, isolate=True)
    ledger = Ledger.join(folder, SEARCH, create=False)
    launch = Launch([(Pending(), range(N_WORKERS))])
    launch.start()
    with ProgressDisplay(ledger, SEARCH.space.n_trials) as progress:
        watch = Watch(ledger, "bench", options)
        doubt = Doubt(None, LEASE_S)
        wait_for_workers(launch, watch, doubt, lambda: progress.update(watch.progress))


ROLES = {
    "a worker with trials of 60 s": lambda folder: work(folder, None),
    "a worker that waits": lambda folder: work(folder, N_WORKERS),
    "a sweeper": supervise,
}


@contextmanager
def counted(folder: Path, role: str):
    """A process in a role; gives what tells how many calls it has made so far."""
    with tempfile.TemporaryDirectory() as control:
        storage = FaultyStorage(folder, Path(control))
        command = [sys.executable, __file__, role, str(folder)]
        process = subprocess.Popen(
            command,
            env={**os.environ, **storage.environment()},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield storage.counts
        finally:
            assert process.poll() is None, f"{role} has ended"
            os.killpg(process.pid, signal.SIGKILL)  # with its trial
            process.wait()


def rates(folder: Path, roles: list[str], seconds: float) -> list[Counter[str]]:
    """The calls a second of a process in each of the roles."""
    with ExitStack() as stack:
        counts = [stack.enter_context(counted(folder, role)) for role in roles]
        time.sleep(START_S)
        before = [count() for count in counts]
        time.sleep(seconds)
        return [
            Counter({kind: n / seconds for kind, n in (count() - was).items()})
            for count, was in zip(counts, before, strict=True)
        ]


def row(name: str, rate: Counter[str], times: int = 1) -> None:
    changing = sum(rate[kind] for kind in CHANGING)
    most = ", ".join(f"{times * n:.3g} {kind}" for kind, n in rate.most_common(4))
    print(f"{name:<34} {times * rate.total():8.2f} {times * changing:9.2f}   {most}")


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stage = Stage(folder)
        with stage.acting((stage.beat, HEARTBEAT_S), (stage.end_a_trial, TRIAL_S)):
            worker, waiting, sweeper = rates(folder, list(ROLES), BUSY_S)
        with stage.acting((stage.beat, HEARTBEAT_S)):
            (quiet,) = rates(folder, ["a sweeper"], QUIET_S)
    print(f"{'operations a second':<34} {'all':>8} {'changing':>9}   most of them")
    row("a worker, trials of 60 s", worker)
    row("1,000 of them", worker, N_WORKERS)
    row("the one that waits for the others", waiting)
    row("a sweeper", sweeper)
    row("a sweeper, while no trial ends", quiet)
    return 0


if __name__ == "__main__":
    if sys.argv[1:]:
        ROLES[sys.argv[1]](sys.argv[2])
    sys.exit(main())
