"""Claims and finishes a second: the ledger beside bare SQLite transactions of one process, in one run.

A bare transaction is BEGIN IMMEDIATE, one row written, COMMIT, on the same file system. The ledger needs
two for each trial: the claim and the finish. Prints for each number of processes the transactions a second,
their ratio to the bare ones, and the claims of the least and the most served worker.
"""

import multiprocessing
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from dahps_core import Ledger, Search, SearchSpace
from dahps_core.trial import Claim

SECONDS = 3.0


def levels(count: int) -> dict | None:
    return {"key": f"x{count}", "values": list(range(10)), "default": levels(count - 1)} if count else None


#: A million combinations.
SEARCH = Search(SearchSpace.from_config({"root": levels(6)}))


def bare_transactions_per_s(folder: Path) -> float:
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("CREATE TABLE trial (number INTEGER PRIMARY KEY, result TEXT)")
    done = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO trial VALUES (?, ?)", (done, "0.5"))
        connection.execute("COMMIT")
        done += 1
    connection.close()
    return done / SECONDS


def work(folder: Path, ready, done) -> None:
    ledger = Ledger.join(folder, SEARCH)
    worker = ledger.register(run="bench", host="here", pid=0, job=None)
    ready.wait()
    n_claims = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        claim = ledger.claim(worker, max_trials=None, max_attempts=1, stop_after_failures=None)
        assert isinstance(claim, Claim)
        ledger.finish_if_held(claim, result=0.5, metric=0.5, output_dir=None)
        n_claims += 1
    done.put(n_claims)


def claims_of_each(folder: Path, n_processes: int) -> list[int]:
    Ledger.join(folder, SEARCH).close()
    context = multiprocessing.get_context("fork")
    ready, done = context.Barrier(n_processes), context.Queue()
    processes = [context.Process(target=work, args=(folder, ready, done)) for _ in range(n_processes)]
    for process in processes:
        process.start()
    claims = [done.get() for _ in processes]
    for process in processes:
        process.join()
    return claims


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bare = bare_transactions_per_s(folder)
        print(f"bare: {bare:.0f} transactions/s of one process")
        print("processes  trials/s  transactions/s : bare  least..most trials of a worker")
        for n_processes in (1, 8, 32, 64):
            claims = claims_of_each(folder / str(n_processes), n_processes)
            rate = sum(claims) / SECONDS
            print(f"{n_processes:9}  {rate:8.0f}  {2 * rate / bare:21.2f}  {min(claims)}..{max(claims)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
