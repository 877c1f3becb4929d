"""A worker on a host whose clock may be wrong: `python clock_work.py FOLDER LOCKING NOTES NAME [HOW]`.

HOW is "by_the_wall_clock" for one that judges others as nobody should, "age" to tell what it would see, or
"status" for a person who looks at the search.
"""

import json
import select
import sys
import time
from pathlib import Path

from ledger_support import grid

from dahps_core.cli import main
from dahps_core.environment.batch_job import BatchJob
from dahps_core.ledger import Ledger
from dahps_core.ledger.folder.heartbeat import FOLDER_NAME, Heart, Observer
from dahps_core.ledger.folder.run_clock import RunClock
from dahps_core.worker.worker import Job, Worker, WorkerOptions

SEARCH = grid(*range(5))
HEARTBEAT_S, LEASE_S = 0.1, 1.0
#: The trials that do not end before there is a file `go on`.
LONG = (0, 1)

# libfaketime answers EINVAL to clock_nanosleep, which is Python's sleep since 3.11; no clock is wrong there.
time.sleep = lambda seconds: select.select([], [], [], seconds)


def work(folder, locking, notes, name):
    def evaluate(trial):
        clocks = {"wall": time.time(), "monotonic": time.monotonic(), "boot": boot_time()}
        note = {"number": trial.number, "attempt": trial.attempt, "worker": name, **clocks}
        with (notes / "started").open("a") as file:
            file.write(json.dumps(note) + "\n")
        while trial.number in LONG and trial.attempt == 1 and not (notes / "go on").exists():
            time.sleep(0.05)
        return float(trial.number)

    def prepare(trial):
        return Job(lambda: evaluate(trial), output_dir=name)

    options = WorkerOptions(None, 3, None, heartbeat_s=HEARTBEAT_S, lease_s=LEASE_S, isolate=True)
    Worker(Ledger.join(folder, SEARCH, locking=locking), "run", prepare, options, BatchJob(name)).work()


def status(folder, *_):
    """What a person is told on this host."""
    main(["status", str(folder), "--json"])


def run_time(folder, *_):
    """How long the multirun has been at work."""
    heart, clock = Heart(folder, "0123"), RunClock(folder, "run")
    with heart:
        clock.start()
        print(clock.elapsed_s(heart.path))


def by_the_wall_clock(*arguments):
    """The mistake that no observer may make."""

    def silent(self):
        stamps = {worker: (self._folder / FOLDER_NAME / worker).stat().st_mtime for worker in self._watched}
        return {worker for worker, stamp in stamps.items() if time.time() - stamp > self._lease_s}

    Observer.dead = silent
    Observer.alive = lambda self: set(self._watched) - silent(self)
    work(*arguments)


def age(folder, *_):
    """How long ago the newest sign of life was, as this host's clock has it."""
    newest = max(path.stat().st_mtime for path in (folder / FOLDER_NAME).iterdir())
    print(time.time() - newest)


def boot_time():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


if __name__ == "__main__":
    folder, locking, notes, name, *how = sys.argv[1:]
    globals()[how[0] if how else "work"](Path(folder), locking, Path(notes), name)
