"""One peer under stress: so many workers run empty trials for a fixed time, on one folder.

Run as `peer_stress.py PEER N_WORKERS SECONDS FOLDER`, under a Python that has the peer; `peers.py` does.
Prints JSON: the trials begun while the clock ran, the seconds, the waits, the combinations drawn twice, and
how the workers ended.

A wait is the time from the end of one empty trial to the beginning of the worker's next: telling the result
and asking for more. One that had not ended when the time was over counts for as long as it had lasted.
The clock starts when every worker has its first trial or has failed to get one, so starting up is not
measured.
"""

import importlib
import json
import multiprocessing
import os
import random
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from peer_kinds import KEYS, PEERS

LONGEST_START_S = 60.0
LONGEST_END_S = 30.0


@dataclass
class Record:
    """What one worker saw.

    Attributes:
        drawn: The combinations that it was given, in order.
        times: When; the clock's start first, its end last if it was there to see it.
        end: How it ended: "time" was over, the "space" was, or the name of an exception.
    """

    drawn: list[tuple[int, ...]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    end: str = "killed"


class Worker:
    """A process of its own that works until the time is over."""

    def __init__(self, peer, folder: Path, seconds: float, started, answer) -> None:
        self._peer, self._folder, self._seconds = peer, folder, seconds
        self._started, self._answer = started, answer
        self._record = Record()

    def run(self) -> None:
        random.seed()
        signal.signal(signal.SIGALRM, lambda *_: self._end("time"))
        try:
            self._peer.work(self._folder, self.evaluate)
        except Exception as error:
            if not self._record.times:
                self._wait_for_all()  # the others are to be measured without it
            self._end(type(error).__name__)
        self._end("space")

    def evaluate(self, combination: dict[str, int]) -> float:
        if not self._record.times:
            self._wait_for_all()
            signal.setitimer(signal.ITIMER_REAL, self._seconds)
        self._record.times.append(time.monotonic())
        self._record.drawn.append(tuple(combination[key] for key in KEYS))
        return 0.5

    def _wait_for_all(self) -> None:
        with suppress(threading.BrokenBarrierError):  # whoever is late is measured from when it comes
            self._started.wait(LONGEST_START_S)

    def _end(self, reason: str) -> NoReturn:
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._record.end = reason
        self._record.times.append(time.monotonic())
        self._answer.send(self._record)
        # A peer cannot be stopped in the middle of asking in any better way.
        os._exit(0)


def records_of(peer, folder: Path, n_workers: int, seconds: float) -> list[Record]:
    """What each worker saw."""
    context = multiprocessing.get_context("fork")
    preparing = context.Process(target=peer.prepare, args=(folder,))
    preparing.start()
    preparing.join()
    started = context.Barrier(n_workers)
    pipes = [context.Pipe(duplex=False) for _ in range(n_workers)]
    workers = [Worker(peer, folder, seconds, started, answer) for _, answer in pipes]
    processes = [context.Process(target=worker.run) for worker in workers]
    for process in processes:
        process.start()
    last = time.monotonic() + LONGEST_START_S + seconds + LONGEST_END_S
    records = []
    for process, (answer, _) in zip(processes, pipes, strict=True):
        records.append(answer.recv() if answer.poll(max(0.0, last - time.monotonic())) else Record())
        process.kill()
        process.join()
    return records


def summary(records: list[Record], seconds: float) -> dict:
    """The figures of all workers together; the waits in seconds."""
    drawn = [combination for record in records for combination in record.drawn]
    waits = sorted(after - before for record in records for before, after in pairwise(record.times))
    ends = Counter(record.end for record in records)
    times = [moment for record in records for moment in record.times]
    quantiles = statistics.quantiles(waits, n=100, method="inclusive") if len(waits) > 1 else [0.0] * 99
    return {
        "trials": len(drawn) - sum(bool(record.drawn) for record in records),
        "seconds": seconds if ends["time"] else max(times, default=0.0) - min(times, default=0.0),
        "p50_s": quantiles[49],
        "p99_s": quantiles[98],
        "duplicates": len(drawn) - len(set(drawn)),
        "ends": ends,
    }


def main() -> int:
    name, n_workers, seconds, folder = sys.argv[1:]
    peer = PEERS[name]()
    for module in peer.modules:
        importlib.import_module(module)  # once for all workers, which are forks
    records = records_of(peer, Path(folder), int(n_workers), float(seconds))
    print(json.dumps(summary(records, float(seconds))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
