"""What a durable write and a transaction cost, and whether SQLite keeps what many write at once."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from dahps_core.doctor.member import Check
from dahps_core.errors import LedgerError
from dahps_core.ledger.sqlite.probe import Probe

BLOCK = bytes(4096)
#: Number of blocks that are rewritten.
N_BLOCKS = 64
#: Enough for a percentile.
MAX_TIMES = 2000
#: How long a transaction waits for locks without a write by others, in seconds.
PATIENCE_S = 20.0
#: If making the table takes longer than this, in seconds, the cost is measured by the transactions of all.
INFORMATIVE_S = 5.0
#: For all to write at least once, in seconds: on storage where that takes longer, fewer of them do, yet two.
TOGETHER_S = 20.0


class Costing(Check):
    """The first process writes alone; all others wait for it."""

    name = "costing"

    def run(self) -> dict[str, Any] | None:
        """Return the times of durable writes and of transactions, in seconds."""
        if not self.me.is_first:
            return None
        syncs = self._syncs()
        if self.me.meeting.report("held")["held"] != "granted":
            return {"syncs": syncs, "transactions": [], "rows": 0}  # without locks SQLite only waits
        try:
            return {"syncs": syncs, **self._transactions()}
        except LedgerError as error:
            return {"syncs": syncs, "transactions": [], "rows": 0, "error": _described(error)}

    def _syncs(self) -> list[float]:
        descriptor = os.open(self.me.folder / "synced", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        times = []
        try:
            for number in self.me.rounds(at_least=2):
                since = time.monotonic()
                os.pwrite(descriptor, BLOCK, number % N_BLOCKS * len(BLOCK))
                os.fsync(descriptor)
                times.append(time.monotonic() - since)
                if len(times) == MAX_TIMES:
                    break
        finally:
            os.close(descriptor)
        return times

    def _transactions(self) -> dict[str, Any]:
        since = time.monotonic()
        probe = Probe(_database(self.me.folder), patience_s=PATIENCE_S, create=True)
        making_s = time.monotonic() - since
        if making_s > INFORMATIVE_S:
            return {"transactions": [making_s], "rows": 0}
        times = []
        for number in self.me.rounds(at_least=2):
            since = time.monotonic()
            probe.insert(-1, number)  # as a process that does not exist
            times.append(time.monotonic() - since)
        probe.close()
        return {"transactions": times, "rows": len(times)}


class Inserting(Check):
    """All write to one database as the ledger does, one transaction at a time."""

    name = "inserting"

    def run(self) -> dict[str, Any]:
        """Return how many of this member's transactions were committed, and the longest time of one."""
        cost = self.me.meeting.report(Costing.name)
        if not cost.get("transactions"):
            return {"mine": 0, "longest_s": 0.0}
        mine, longest, error = 0, 0.0, None
        try:
            if self._turn() < max(2, TOGETHER_S / median(cost["transactions"])):
                mine, longest = self._insert()
        except LedgerError as caught:
            error = _described(caught)
        return {"mine": mine, "longest_s": longest, **({"error": error} if error else {})}

    def _turn(self) -> int:
        """Take turns: some of each rank come before more of any."""
        return self.me.index * self.me.ranks + self.me.rank

    def _insert(self) -> tuple[int, float]:
        probe = Probe(_database(self.me.folder), patience_s=PATIENCE_S)
        longest, mine = 0.0, 0
        for number in self.me.rounds():
            since = time.monotonic()
            probe.insert(self.me.number, number)
            mine += 1
            longest = max(longest, time.monotonic() - since)
        probe.close()
        return mine, longest


class Verifying(Check):
    """The first process looks at what is in the database in the end."""

    name = "verifying"

    def run(self) -> dict[str, Any] | None:
        """Return the number of rows, and what SQLite reports about the file."""
        cost = self.me.meeting.report(Costing.name)
        if not self.me.is_first or not cost.get("transactions"):
            return None
        try:
            probe = Probe(_database(self.me.folder), patience_s=PATIENCE_S)
            found = {"rows": probe.count(), "integrity": probe.integrity()}
            probe.close()
        except LedgerError as error:
            return {"error": _described(error)}
        return found


def median(times: list[float]) -> float:
    """Return the median of some times."""
    return sorted(times)[len(times) // 2]


def _described(error: LedgerError) -> str:
    # It speaks of a ledger, which this is not.
    return error.what.replace("the ledger", "the database")


def _database(folder: Path) -> Path:
    return folder / "probe.db"
