"""The space that a ledger object draws from: what is at which position, and at which rung it starts."""

from __future__ import annotations

from dataclasses import dataclass

from dahps_core.ledger.claiming.open_trials import OpenTrials, OpenTrialsOfBranch
from dahps_core.ledger.claiming.rungs import Rungs
from dahps_core.ledger.sqlite.database import Transaction
from dahps_core.model.combination import Combination
from dahps_core.model.records import Claim
from dahps_core.space import SearchSpace
from dahps_core.space.pruning import Allowed
from dahps_core.strategies import Order


@dataclass(frozen=True)
class BoundSpace:
    """The space that a worker draws new trials from, and the order of its combinations.

    Attributes:
        allowed: What a combination must have for the worker to take its trial, if the space is one branch;
            None: all trials of the ledger are served.
        rungs: Those of the search, if its strategy has levels.
    """

    id: int
    space: SearchSpace
    order: Order
    allowed: Allowed | None = None
    rungs: Rungs | None = None

    @property
    def branch(self) -> int | None:
        """The id of the space, if its trials are the only ones that are served."""
        return None if self.allowed is None else self.id

    def open_trials(self, transaction: Transaction) -> OpenTrials:
        """Return the trials that are not over, as far as they concern the worker."""
        if self.allowed is None:
            return OpenTrials(transaction)
        return OpenTrialsOfBranch(transaction, self.allowed)

    def trials_that_may_matter(self, transaction: Transaction) -> OpenTrials:
        """Return the trials whose ends may yield a trial for the worker: with rungs, those of other branches
        too.
        """
        return OpenTrials(transaction) if self.rungs else self.open_trials(transaction)

    def first_level(self, number: int) -> int:
        """Return the first rung of a trial."""
        return self.rungs.brackets.bracket(number) if self.rungs else 0

    def has_level(self, number: int, level: int) -> bool:
        """Return whether a trial can be at a rung."""
        return self.first_level(number) <= level <= (self.rungs.brackets.top if self.rungs else 0)

    def claim_of(
        self, number: int, attempt: int, token: str, drawn: tuple[Combination, int], level: int
    ) -> Claim:
        """Make the claim of a trial at a rung."""
        resource = self.rungs.brackets.resource(number, level) if self.rungs else None
        return Claim(number, attempt, token, *drawn, level, resource)

    def trial_at(self, position: int) -> tuple[Combination, int]:
        """Return the (combination, repetition) at a position of the cursor."""
        draw, round_ = divmod(position, self.space.repetitions)
        combination = self.space[self.order[draw]]
        return combination, combination.occurrence * self.space.repetitions + round_
