"""What it costs the workers that people look: trials a second of 64 processes, alone and watched.

Alone and watched runs alternate, each on a ledger of its own that holds 10,000 trials from the start.
Watched means, all at once: `dahps status --watch` every two seconds, `dahps dashboard` polled as its page
does it, every ten seconds, and `dahps report` once, in the middle. Who looks sits at another machine than the
workers': here at a core of its own, the last one, which the workers leave free in all runs. So what is
measured is what the ledger makes them wait, and not their share of the processors.

Prints the trials a second of each run, and the ratio of the medians, which should be above 0.95. A watcher
that fails, of a locked database say, ends it.

Run: python tests/benchmarks/watching.py [--processes 64] [--seconds 40] [--rounds 3]
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from stress import SEARCH, services_of, verdict

from dahps_core import Ledger

# The one place outside the ledger that knows its tables is the tests' own.
sys.path.insert(0, str(Path(__file__).parents[1] / "ledger"))
from ledger_support import fill

#: Trials that a ledger holds from the start.
N_BEFORE = 10_000

SMALLEST_RATIO = 0.95
STATUS_S = 2.0
#: As the page of the dashboard does by default.
POLL_S = 10.0

CORES = sorted(os.sched_getaffinity(0))
WATCHERS_CORES, WORKERS_CORES = CORES[-1:], CORES[:-1] or CORES

DAHPS = [sys.executable, "-m", "dahps_core"]
WARMING_S = 8.0


class Watchers:
    """All that people look with, at once.

    Attributes:
        complaints: What went wrong.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.complaints: list[str] = []
        self._folder = folder
        self._middle_s = WARMING_S + seconds / 2
        self._end = threading.Event()
        self._threads = [threading.Thread(target=watch) for watch in (self._status, self._report, self._poll)]

    def __enter__(self) -> "Watchers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _start(self, *arguments: str) -> subprocess.Popen:
        os.sched_setaffinity(0, WATCHERS_CORES)  # of this thread, and so of what it starts
        return subprocess.Popen(
            [*DAHPS, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def _status(self) -> None:
        process = self._start("status", str(self._folder), "--watch", str(STATUS_S))
        reading = threading.Thread(target=process.stdout.read)
        reading.start()
        self._end.wait()
        if process.poll() is not None:
            self.complaints.append(process.stderr.read())
        process.terminate()
        process.wait()
        reading.join()

    def _report(self) -> None:
        self._end.wait(self._middle_s)
        process = self._start("report", str(self._folder), "-o", str(self._folder / "report.html"))
        _, told = process.communicate()
        if process.returncode:
            self.complaints.append(told)

    def _poll(self) -> None:
        process = self._start("dashboard", str(self._folder))
        address = process.stdout.readline().strip()
        after = 0
        while not self._end.is_set():
            try:
                after = self._n_settled(f"{address}api/studies/0?after={after}", after)
            except (OSError, ValueError) as error:
                self.complaints.append(f"the dashboard: {error!r} {address}")
            self._end.wait(POLL_S)
        process.terminate()
        process.communicate()

    def _n_settled(self, address: str, after: int) -> int:
        """How many first trials will not change: the page asks for those after them."""
        with urllib.request.urlopen(address, timeout=120) as answer:
            trials = json.load(answer)["trials"]
        unsettled = (n for n, trial in enumerate(trials) if trial["state"] in ("Running", "Waiting"))
        return after + next(unsettled, len(trials))


def rate(folder: Path, n_processes: int, seconds: float, is_watched: bool) -> float:
    """Trials a second of all processes together."""
    Ledger.join(folder, SEARCH).close()
    fill(folder, N_BEFORE, "finished")
    watchers = Watchers(folder, seconds)
    with watchers if is_watched else contextlib.nullcontext():
        if is_watched:
            time.sleep(WARMING_S)  # the watchers' imports are nobody's claims
        os.sched_setaffinity(0, WORKERS_CORES)
        services = services_of(folder, n_processes, seconds)
    if watchers.complaints:
        raise SystemExit("\n".join(watchers.complaints))
    return sum(service.n_trials for service in services) / seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rates: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as name:
        for number in range(options.rounds):
            for is_watched in (False, True):
                folder = Path(name) / f"{number}-{is_watched}"
                rates[is_watched].append(rate(folder, options.processes, options.seconds, is_watched))
            print(f"trials/s alone {rates[False][-1]:.0f}, watched {rates[True][-1]:.0f}", flush=True)
    ratio = statistics.median(rates[True]) / statistics.median(rates[False])
    print(f"watched : alone {ratio:.3f}, >= {SMALLEST_RATIO} {verdict(ratio >= SMALLEST_RATIO)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
