"""How far a search is, in three words that mean the same wherever they are shown.

*done* counts what is over: trials that finished, were cancelled, or failed and have no attempt left.
*left* is what will still run by the limits of the multiruns; it is 0 exactly when the search ends.
*budget* is the sum of both.

They count trials: those of the ledger, or of the branches that the multiruns draw from. With rungs they count
resource instead, of the whole ledger: what an evaluation uses at its level, going on from the one below. The
budget then expects that one in `eta` of a rung is promoted, and is never above `max_resource_total`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dahps_core.errors import ConfigurationError
from dahps_core.ledger.claiming import next_trial
from dahps_core.ledger.claiming.bound_space import BoundSpace
from dahps_core.ledger.folder.run_limits import RunLimits
from dahps_core.ledger.joining import bind_to_branch
from dahps_core.ledger.sqlite.database import Transaction
from dahps_core.ledger.views import trial_rows
from dahps_core.ledger.views.status import End
from dahps_core.model.combination import Combination, canonical
from dahps_core.model.pace import per_hour
from dahps_core.model.records import TrialState
from dahps_core.space.conditions import Condition, fulfils, read_conditions
from dahps_core.strategies.brackets import Brackets, Resource

if TYPE_CHECKING:
    from dahps_core.ledger.reader import LedgerReader

#: How many trials are looked at in one read: a reader keeps writers from committing.
_PAGE = 1000


@dataclass(frozen=True)
class Progress:
    """How far a search is; see this module for the words.

    Attributes:
        done: How much is over.
        left: How much will still run.
        running: How much of `left` runs now.
        unit: What is counted: "trials" or "resource".
        counts: How many trials there are in each state, of those that are counted.
        n_left: How many trials will still run, or continue at a higher rung, as far as is known now.
        limits: The limits that leave the most.
        numbers: Of the trials that are counted; None: all.
    """

    done: Resource
    left: Resource
    running: Resource
    unit: str
    counts: Mapping[TrialState, int]
    n_left: int
    limits: RunLimits
    numbers: Collection[int] | None = None

    @property
    def budget(self) -> Resource:
        """How much there will be when the search ends."""
        return self.done + self.left

    def __str__(self) -> str:
        return f"{shown_amount(self.done)}/{shown_amount(self.budget)} {self.unit}"

    def seconds_left(self, ends: Iterable[End], brackets: Brackets | None) -> float | None:
        """Return how long what is left takes at the pace of the last trials that finished; None: unknown."""
        counted = (end for end in ends if self.numbers is None or end.number in self.numbers)
        pace = per_hour(
            (end.ended_at, brackets.cost_of(end.number, end.level) if brackets else 1)
            for end in counted
            if end.error is None
        )
        return 3600 * self.left / pace if pace else None


def shown_amount(amount: Resource) -> str:
    """Return an amount of trials or of resource, for people."""
    return f"{amount:,}" if isinstance(amount, int) else f"{amount:,.6g}"


class ProgressReader:
    """Reads the progress of a ledger again and again: of trials that it has seen, only what changed is read.

    Args:
        ledger: Read only.
    """

    def __init__(self, ledger: LedgerReader) -> None:
        self._ledger = ledger
        self._ahead: dict[str, _Ahead] = {}
        self._inside: dict[str, _Inside] = {}

    def remaining(self, limits: RunLimits) -> int:
        """Return how many trials will still run by these limits, or are known to continue; 0: none ever.

        Raises:
            ConfigurationError: The space has no such branch.
        """
        ledger = self._ledger
        # Before the ledger is read: a writer waits for who reads it.
        branch = None
        if limits.only is not None:
            branch = replace(ledger.search, space=ledger.search.space.only(limits.only))
        known = self._ahead.setdefault(canonical(limits.only), _Ahead())

        def count(transaction: Transaction) -> int | None:
            bound = ledger._bound
            if branch is not None and limits.only is not None:
                bound = bind_to_branch(transaction, branch, limits.only)
            n_ahead = known.n_ahead(transaction, bound)
            return None if n_ahead is None else next_trial.remaining(transaction, bound, limits, n_ahead)

        while (found := ledger._database.read(count)) is None:
            pass
        return found

    def read(self, limits: Collection[RunLimits]) -> Progress:
        """Return the progress of multiruns with these limits, at least one."""
        n_left, limit = self._left(limits)
        if self._ledger.search.brackets:
            return self._of_resource(n_left, limit)
        max_attempts = max(one.max_attempts for one in limits)
        branches = [self._allowed(one) for one in limits]
        numbers = None
        if None in branches:
            counts, n_open = self._ledger._database.read(
                lambda transaction: (
                    trial_rows.counts(transaction),
                    int(transaction.value("count_open", max_attempts=max_attempts) or 0),
                )
            )
        else:
            known = self._inside.setdefault(
                canonical([sorted((one.only or {}).items()) for one in limits]), _Inside(branches)
            )
            while (found := self._ledger._database.read(known.counted)) is None:
                pass
            counts, charges = found
            numbers = known.numbers
            n_open = sum(
                n for (state, charged), n in charges.items() if _is_open(state, charged, max_attempts)
            )
        n_over = sum(counts.values()) - n_open
        return Progress(n_over, n_left, counts[TrialState.RUNNING], "trials", counts, n_left, limit, numbers)

    def _allowed(self, limits: RunLimits) -> Mapping[str, Condition] | None:
        return self._ledger._bound.allowed if limits.only is None else read_conditions(limits.only)

    def _left(self, limits: Collection[RunLimits]) -> tuple[int, RunLimits]:
        """Return how many trials are left by all of these limits, and which of them leave the most.

        What branches leave is added up, but never to more than one of them would leave of the whole space.
        """
        whole = {replace(limit, only=None) for limit in limits}
        left = {limit: self._remaining_of_known(limit) for limit in {*limits, *whole}}
        by_branch: dict[str, int] = {}
        for limit in limits:
            branch = canonical(limit.only)
            by_branch[branch] = max(left[limit], by_branch.get(branch, 0))
        n_left = min(sum(by_branch.values()), max(left[limit] for limit in whole))
        return n_left, max(limits, key=left.__getitem__)

    def _remaining_of_known(self, limits: RunLimits) -> int:
        try:
            return self.remaining(limits)
        except ConfigurationError:  # the space was extended since, and has that branch no more
            return self.remaining(replace(limits, only=None))

    def _of_resource(self, n_left: int, limits: RunLimits) -> Progress:
        bound = self._ledger._bound
        rungs = bound.rungs
        assert rungs

        def read(transaction: Transaction) -> tuple[Resource, Resource, Resource, dict[TrialState, int]]:
            counts = trial_rows.counts(transaction)
            n_drawn = sum(counts.values())
            n_due = next_trial.due(transaction, bound, limits, 0) if n_left else 0
            used, expected = rungs.used(transaction, n_drawn), rungs.expected(transaction, n_drawn + n_due)
            open_ = transaction.rows("open_at_levels", max_attempts=limits.max_attempts)
            cost = {one["number"]: rungs.brackets.cost_of(one["number"], one["level"]) for one in open_}
            running = sum(cost[one["number"]] for one in open_ if one["state"] == "running")
            return used - sum(cost.values()), expected, running, counts

        done, expected, running, counts = self._ledger._database.read(read)
        if limits.max_resource_total is not None:
            expected = min(expected, limits.max_resource_total)
        left = max(expected - done, running) if n_left else 0
        return Progress(done, left, running, "resource", counts, n_left, limits)


def _is_open(state: str, charged: int, max_attempts: int) -> bool:
    may_be_retried = state in ("failed", "died", "lost") and charged < max_attempts
    return state in ("running", "released", "queued") or may_be_retried


class _Ahead:
    """How many trials of a space exist ahead of its cursor."""

    def __init__(self) -> None:
        self._first = self._n_in = 0

    def n_ahead(self, transaction: Transaction, bound: BoundSpace) -> int | None:
        """Return the number; None: there is more to look at than one read may."""
        cursor = int(transaction.value("cursor", space=bound.id) or 0)
        n_between = int(transaction.value("n_between", space=bound.id) or 0)
        if not transaction.value("has_trials_of_others", space=bound.id):
            return int(transaction.value("n_drawn") or 0) - n_between - cursor
        rows = transaction.rows("trials_from", first=self._first, limit=_PAGE)
        for row in rows:
            self._n_in += row["space"] == bound.id or bound.space.has(
                Combination.from_json(row["combination"]), row["repetition"]
            )
            self._first = row["number"] + 1
        if len(rows) == _PAGE:
            return None
        return self._n_in - n_between - cursor


class _Inside:
    """Which trials are in one of some branches; no index covers that.

    Args:
        branches: At least one, and none of them the whole space.

    Attributes:
        numbers: The branch's numbers, among the trials that were read.
    """

    def __init__(self, branches: Collection[Mapping[str, Condition] | None]) -> None:
        self._branches = [one for one in branches if one is not None]
        self.numbers: set[int] = set()
        self._first = 0

    def counted(
        self, transaction: Transaction
    ) -> tuple[dict[TrialState, int], Mapping[tuple[str, int], int]] | None:
        """Return counts by state, and by (stored state, charged attempts) of all that have not finished.

        None: there is more to look at than one read may.
        """
        rows = transaction.rows("trials_from", first=self._first, limit=_PAGE)
        for row in rows:
            combination = Combination.from_json(row["combination"])
            if any(fulfils(combination, allowed) for allowed in self._branches):
                self.numbers.add(row["number"])
            self._first = row["number"] + 1
        if len(rows) == _PAGE:
            return None
        found = transaction.rows("unfinished")
        charges = Counter((row["state"], row["charged"]) for row in found if row["number"] in self.numbers)
        counts = dict.fromkeys(TrialState, 0)
        for (state, _), n in charges.items():
            counts[TrialState.LOST if state == "died" else TrialState(state)] += n
        counts[TrialState.FINISHED] = len(self.numbers) - sum(counts.values())
        return counts, charges
