"""What the benchmarks share: processes that claim and finish as fast as they can, and verdicts on bounds."""

import multiprocessing
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from dahps_core import Ledger, Search, SearchSpace
from dahps_core.model.records import Claim, Ending

#: As the sweeper asks by default.
LIMITS = {"max_trials": None, "max_attempts": 3, "stop_after_failures": 5}

LONGEST_START_S = 60.0
LONGEST_WAIT_S = 120.0


def levels(count: int, width: int = 10) -> dict | None:
    """The root of a tree with width ** count combinations."""
    if not count:
        return None
    return {"key": f"x{count}", "values": list(range(width)), "default": levels(count - 1, width)}


#: A million combinations, so that no run comes to the end.
SEARCH = Search(SearchSpace.from_config({"root": levels(6)}))


@dataclass(frozen=True)
class Service:
    """What one process got of the ledger.

    Attributes:
        n_trials: The trials that it claimed and finished.
        longest_s: The longest that a single call took.
    """

    n_trials: int
    longest_s: float


def register(ledger: Ledger) -> str:
    """Enter a worker of this benchmark."""
    return ledger.register(run="bench", host="here", pid=0, job=None)


def claim(ledger: Ledger, worker: str, after: Ending | None = None) -> Claim:
    """Claim a trial, as workers do: with the end of the last one, in one transaction."""
    drawn = ledger.claim(worker, **LIMITS, after=after)
    assert isinstance(drawn, Claim), drawn
    return drawn


def finished(claim: Claim) -> Ending:
    """The end of a trial that did nothing."""
    return Ending(claim.number, claim.attempt, claim.token, "finished", result=0.5, metric=0.5)


def services_of(folder: Path, n_processes: int, seconds: float) -> list[Service]:
    """Let so many processes claim and finish for so long; one service each."""
    Ledger.join(folder, SEARCH).close()
    context = multiprocessing.get_context("fork")
    ready, done = context.Barrier(n_processes), context.Queue()
    processes = [
        context.Process(target=_work, args=(folder, seconds, ready, done)) for _ in range(n_processes)
    ]
    for process in processes:
        process.start()
    services = [done.get(timeout=LONGEST_START_S + seconds + LONGEST_WAIT_S) for _ in processes]
    for process in processes:
        process.join()
    return services


def _work(folder: Path, seconds: float, ready, done) -> None:
    ledger = Ledger.join(folder, SEARCH)
    worker = register(ledger)
    ready.wait(LONGEST_START_S)
    held = claim(ledger, worker)
    calls_ended = [time.monotonic()]
    end = calls_ended[0] + seconds
    while calls_ended[-1] < end:
        held = claim(ledger, worker, after=finished(held))
        calls_ended.append(time.monotonic())
    longest_s = max(after - before for before, after in pairwise(calls_ended))
    done.put(Service(sum(ended < end for ended in calls_ended[1:]), longest_s))


def verdict(is_kept: bool) -> str:
    """How a figure stands to its bound."""
    return "holds" if is_kept else "MISSED"
