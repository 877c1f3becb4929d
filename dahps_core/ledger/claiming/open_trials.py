"""The trials that are not over: in which order they are served, and what may come back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping

from dahps_core.ledger.sqlite.database import Parameter, Transaction
from dahps_core.model.combination import Combination
from dahps_core.space.conditions import Condition, fulfils


class OpenTrials:
    """The open trials of the whole ledger; indexes answer every query."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def next_in_line(self, released: int | None, queued: int | None) -> int | None:
        """Return the trial before all new ones, given the ledger's oldest released and queued one."""
        return queued if released is None else released

    def next_promotion(self) -> int | None:
        """Return the trial to promote next: from the top rung down, the best of those that may be
        promoted.
        """
        found = self._transaction.value("next_promotion")
        return None if found is None else int(found)

    def count_promotable(self) -> int:
        """Return how many trials may be promoted."""
        return int(self._transaction.value("count_promotable") or 0)

    def oldest_to_retry(self, max_attempts: int, dead: Collection[str]) -> int | None:
        """Return the oldest failed or lost trial with attempts left that no live worker may hold."""
        # Level by level of charged attempts: the indexes give the oldest of each, and there are few levels.
        failed = [
            self._transaction.value("oldest_failed", charged=charged)
            for charged in self._levels("next_charge_of_failed", max_attempts)
        ]
        lost = [
            self._transaction.value("oldest_lost", charged=charged, dead=json.dumps(list(dead)))
            for charged in self._levels("next_charge_of_lost", max_attempts)
        ]
        return min((int(number) for number in failed + lost if number is not None), default=None)

    def any_may_come_back(self, max_attempts: int) -> bool:
        """Return whether a trial is running, or a lost one with attempts left awaits a verdict on
        its holder.
        """
        return bool(self._transaction.value("any_may_come_back", max_attempts=max_attempts))

    def holders(self, max_attempts: int) -> list[str]:
        """Yield the holder of each trial that may run again."""
        rows = self._transaction.rows("holders_of_open_trials", max_attempts=max_attempts)
        return [row["id"] for row in rows]

    def count(self, max_attempts: int) -> int:
        """Return how many trials are running, or may run again."""
        return int(self._transaction.value("count_open", max_attempts=max_attempts) or 0)

    def _levels(self, query: str, max_attempts: int) -> list[int]:
        levels: list[int] = []
        while True:
            charged = self._transaction.value(query, charged=levels[-1] if levels else -1)
            if charged is None or int(charged) >= max_attempts:
                return levels
            levels.append(int(charged))


class OpenTrialsOfBranch(OpenTrials):
    """Those of one branch, whichever space they were drawn from.

    No index covers branches: trials of other branches are read and skipped, which are few as long as few
    trials fail.
    """

    def __init__(self, transaction: Transaction, allowed: Mapping[str, Condition]) -> None:
        super().__init__(transaction)
        self._allowed = allowed

    def next_in_line(self, released: int | None, queued: int | None) -> int | None:
        """Return the branch's next trial; none if the ledger's are both None."""
        found = None if released is None else self._first("released_trials")
        return self._first("queued_trials") if found is None and queued is not None else found

    def next_promotion(self) -> int | None:
        """Return the branch's next promotion."""
        return self._first("promotable_trials")

    def count_promotable(self) -> int:
        """Return how many of the branch's trials may be promoted."""
        return len(list(self._those("promotable_trials")))

    def oldest_to_retry(self, max_attempts: int, dead: Collection[str]) -> int | None:
        """Return the branch's oldest trial to retry."""
        return self._first("trials_to_retry", max_attempts=max_attempts, dead=json.dumps(list(dead)))

    def any_may_come_back(self, max_attempts: int) -> bool:
        """Return whether any of the branch's trials may run again."""
        return bool(self.holders(max_attempts))

    def holders(self, max_attempts: int) -> list[str]:
        """Yield the holders of the branch's trials."""
        rows = self._those("trials_that_may_come_back", max_attempts=max_attempts)
        return [str(row["id"]) for row in rows]

    def count(self, max_attempts: int) -> int:
        """Return how many of the branch's trials are not over."""
        waiting = [*self._those("released_trials"), *self._those("queued_trials")]
        failed = list(self._those("trials_to_retry", max_attempts=max_attempts, dead="[]"))
        return len(waiting) + len(failed) + len(self.holders(max_attempts))

    def _first(self, query: str, **parameters: Parameter) -> int | None:
        return next((int(row["number"]) for row in self._those(query, **parameters)), None)

    def _those(self, query: str, **parameters: Parameter) -> Iterator[sqlite3.Row]:
        for row in self._transaction.rows(query, **parameters):
            if fulfils(Combination.from_json(row["combination"]), self._allowed):
                yield row
