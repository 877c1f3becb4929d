"""Claims and finishes a second at 1 to 64 processes, beside bare SQLite transactions of one process.

A bare transaction is BEGIN IMMEDIATE, one row written, COMMIT, with SQLite's defaults, on the same file
system. It is measured before and after each width, as machines are noisy, and the median taken. A trial is
two events of the ledger, a claim and a finish; as workers do, the finish is written together with the next
claim, in one transaction.

Prints for each number of processes N, and beside each figure whether it keeps its bound: the claims and
finishes a second over the bare transactions; the trials of the least served worker over the mean; the longest
wait of a single call over the time of 2 N bare transactions: the fairest of queues would serve each of N
processes its two events in that time.
"""

import sqlite3
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from stress import Service, services_of, verdict

SECONDS = 3.0
BARE_SECONDS = 1.0
WIDTHS = (1, 8, 32, 64)

#: Of a trial: its claim and its finish.
EVENTS = 2

SMALLEST_RATIO = 0.8
SMALLEST_SHARE = 0.5
LONGEST_WAIT = 3.0

ROW = "{:>9}  {:>8}  {:>6}  {:>16}  {:>12}  {:>13}  {:>28}"


def bare_transactions_s(folder: Path) -> list[float]:
    """How long each of a process's bare transactions took, in seconds."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("CREATE TABLE IF NOT EXISTS trial (number INTEGER PRIMARY KEY, result TEXT)")
    times = [time.monotonic()]
    end = times[0] + BARE_SECONDS
    while times[-1] < end:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO trial (result) VALUES ('0.5')")
        connection.execute("COMMIT")
        times.append(time.monotonic())
    connection.close()
    return [after - before for before, after in pairwise(times)]


def rate(transactions_s: list[float]) -> float:
    """Transactions a second."""
    return len(transactions_s) / sum(transactions_s)


def row(services: list[Service], bare: float) -> str:
    """The line of one width, beside so many bare transactions a second."""
    trials = [service.n_trials for service in services]
    longest_s = max(service.longest_s for service in services)
    ratio = EVENTS * sum(trials) / SECONDS / bare
    share = min(trials) / statistics.mean(trials)
    waited = longest_s * bare / (EVENTS * len(services))
    return ROW.format(
        len(services),
        f"{sum(trials) / SECONDS:.0f}",
        f"{bare:.0f}",
        f"{ratio:.2f} {verdict(ratio >= SMALLEST_RATIO)}",
        f"{min(trials):.0f}..{max(trials):.0f}",
        f"{share:.2f} {verdict(share >= SMALLEST_SHARE)}",
        f"{1000 * longest_s:.0f} ms = {waited:.1f} * 2 N {verdict(waited <= LONGEST_WAIT)}",
    )


def main() -> int:
    heads = (
        "processes",
        "trials/s",
        "bare/s",
        "events/s : bare",
        "least..most",
        "least : mean",
        "longest wait",
    )
    bounds = (
        "N",
        "",
        "",
        f">= {SMALLEST_RATIO}",
        "",
        f">= {SMALLEST_SHARE}",
        f"<= {LONGEST_WAIT} * 2 N bare",
    )
    print(ROW.format(*heads))
    print(ROW.format(*bounds))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bare = [bare_transactions_s(folder)]
        for n_processes in WIDTHS:
            services = services_of(folder / str(n_processes), n_processes, SECONDS)
            bare.append(bare_transactions_s(folder))
            print(row(services, statistics.median(map(rate, bare[-2:]))), flush=True)
    longest_s = max(map(max, bare))
    print(f"the longest of all bare transactions, with nobody to wait for: {1000 * longest_s:.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
