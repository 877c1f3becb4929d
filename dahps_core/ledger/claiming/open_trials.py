"""The trials that are not over: in which order they are served, and what may come back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator

from dahps_core.ledger.sqlite.database import Parameter, Transaction
from dahps_core.model.combination import Combination, canonical
from dahps_core.space.pruning import Allowed


class OpenTrials:
    """Those of the whole ledger; whatever is asked, its indexes answer."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def next_in_line(self, released: int | None, queued: int | None) -> int | None:
        """The trial that comes before all new ones, given the ledger's oldest released and queued one."""
        return queued if released is None else released

    def next_promotion(self) -> int | None:
        """The trial that is promoted next: from the top rung down, the best of those that may be."""
        found = self._transaction.value("next_promotion")
        return None if found is None else int(found)

    def count_promotable(self) -> int:
        """How many trials may be promoted."""
        return int(self._transaction.value("count_promotable") or 0)

    def oldest_to_retry(self, max_attempts: int, dead: Collection[str]) -> int | None:
        """The oldest failed or lost trial with attempts left that nobody alive may hold."""
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
        """Whether a trial runs, or a lost one with attempts left waits for its holder to be judged."""
        return bool(self._transaction.value("any_may_come_back", max_attempts=max_attempts))

    def holders(self, max_attempts: int) -> list[str]:
        """Who holds a trial that may come back: once for each trial."""
        rows = self._transaction.rows("holders_of_open_trials", max_attempts=max_attempts)
        return [row["id"] for row in rows]

    def count(self, max_attempts: int) -> int:
        """How many trials run, or may run again."""
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

    No index knows branches: those of other branches are read and passed over, which are few as long as few
    trials fail.
    """

    def __init__(self, transaction: Transaction, allowed: Allowed) -> None:
        super().__init__(transaction)
        self._allowed = allowed

    def next_in_line(self, released: int | None, queued: int | None) -> int | None:
        """As that of the whole ledger, which has none if both are None."""
        found = None if released is None else self._first("released_trials")
        return self._first("queued_trials") if found is None and queued is not None else found

    def next_promotion(self) -> int | None:
        """As that of the whole ledger."""
        return self._first("promotable_trials")

    def count_promotable(self) -> int:
        """As that of the whole ledger."""
        return len(list(self._those("promotable_trials")))

    def oldest_to_retry(self, max_attempts: int, dead: Collection[str]) -> int | None:
        """As that of the whole ledger."""
        return self._first("trials_to_retry", max_attempts=max_attempts, dead=json.dumps(list(dead)))

    def any_may_come_back(self, max_attempts: int) -> bool:
        """As that of the whole ledger."""
        return bool(self.holders(max_attempts))

    def holders(self, max_attempts: int) -> list[str]:
        """As those of the whole ledger."""
        rows = self._those("trials_that_may_come_back", max_attempts=max_attempts)
        return [str(row["id"]) for row in rows]

    def count(self, max_attempts: int) -> int:
        """As that of the whole ledger."""
        waiting = [*self._those("released_trials"), *self._those("queued_trials")]
        failed = list(self._those("trials_to_retry", max_attempts=max_attempts, dead="[]"))
        return len(waiting) + len(failed) + len(self.holders(max_attempts))

    def _first(self, query: str, **parameters: Parameter) -> int | None:
        return next((int(row["number"]) for row in self._those(query, **parameters)), None)

    def _those(self, query: str, **parameters: Parameter) -> Iterator[sqlite3.Row]:
        for row in self._transaction.rows(query, **parameters):
            combination = Combination.from_json(row["combination"])
            if all(
                key in combination and canonical(combination[key]) in texts
                for key, texts in self._allowed.items()
            ):
                yield row
