"""The space that a ledger object draws from: what is at which position, and at which rung it starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dahps_core.ledger.claiming.open_trials import OpenTrials, OpenTrialsOfBranch
from dahps_core.ledger.claiming.rungs import Rungs
from dahps_core.ledger.sqlite.database import Transaction
from dahps_core.model.combination import Combination
from dahps_core.model.records import Claim
from dahps_core.space import SearchSpace
from dahps_core.space.conditions import Condition
from dahps_core.strategies import Order
from dahps_core.strategies.by_level import MOST_DRAWS, draw_by_level


@dataclass(frozen=True)
class BoundSpace:
    """The space that a worker draws new trials from, and the order of its combinations.

    Attributes:
        allowed: What a combination must have for the worker to take its trial, if the space is one branch;
            None: all trials of the ledger are served.
        rungs: Those of the search, if its strategy has levels.
        seed: Of draws level by level; None: new trials are drawn in the order alone.
    """

    id: int
    space: SearchSpace
    order: Order
    allowed: Mapping[str, Condition] | None = None
    rungs: Rungs | None = None
    seed: int | None = None

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

    def drawn(self, number: int) -> Iterator[tuple[Combination, int]]:
        """Yield what a new trial with this number may be, a (combination, repetition), the best choice first.

        Nothing if trials are drawn by the cursor alone. Successive numbers draw all repetitions of one
        combination.
        """
        n = self.space.repetitions
        for attempt in range(MOST_DRAWS if self.seed is not None else 0):
            assert self.seed is not None
            combination = self.space[draw_by_level(self.space, self.seed, number // n, attempt)]
            first = combination.occurrence * n
            yield from ((combination, repetition) for repetition in range(first, first + n))

    def trial_at(self, position: int) -> tuple[Combination, int]:
        """Return the (combination, repetition) at a position of the cursor."""
        draw, round_ = divmod(position, self.space.repetitions)
        combination = self.space[self.order[draw]]
        return combination, combination.occurrence * self.space.repetitions + round_
