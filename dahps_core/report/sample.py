"""Which trials of a large ledger a report shows: a page of all of them could not be opened."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from dahps_core.ledger import Ledger
from dahps_core.ledger.views.listing import Choice
from dahps_core.ledger.views.trial_rows import TRIALS_PER_PAGE
from dahps_core.model.records import TrialRecord, TrialState

#: A ledger with no more trials than this is shown as a whole.
MOST_TRIALS = 50_000

_RANDOM = 20_000
_BEST = 500
_MOST_FAILED = 40_000


@dataclass(frozen=True)
class Sample:
    """The trials that are shown, by number.

    Attributes:
        n_trials: How many there are.
        random: Drawn at random: these alone represent all trials.
        best: The best ones.
        failed: Those that failed or were lost; a random part of them if there are too many.
        n_failed: How many failed or were lost.
        n_measured: How many have finished with a finite metric.
    """

    n_trials: int
    random: frozenset[int]
    best: frozenset[int]
    failed: frozenset[int]
    n_failed: int
    n_measured: int

    @classmethod
    def of(cls, ledger: Ledger, n_trials: int) -> Sample:
        """Draw a sample of a ledger's first trials; the same one each time that nothing has changed."""
        luck = random.Random(0)
        best = {trial.number for trial in islice(ledger.listed(Choice(), best_first=True), _BEST)}
        best |= {trial.number for trial in ledger.best_trials(1)}
        failed = ledger.numbers_in(TrialState.FAILED, TrialState.LOST)
        shown = failed if len(failed) <= _MOST_FAILED else luck.sample(failed, _MOST_FAILED)
        n_measured = ledger.counts()[TrialState.FINISHED] - ledger.n_unmeasured()
        drawn = luck.sample(range(n_trials), _RANDOM)
        return cls(n_trials, frozenset(drawn), frozenset(best), frozenset(shown), len(failed), n_measured)

    def trials(self, ledger: Ledger) -> Iterator[TrialRecord]:
        """Read the trials by number, by pages."""
        numbers = sorted(self.random | self.best | self.failed)
        for first in range(0, len(numbers), TRIALS_PER_PAGE):
            yield from ledger.trials_among(numbers[first : first + TRIALS_PER_PAGE])

    def __str__(self) -> str:
        n_shown = len(self.failed)
        failed = "all" if n_shown == self.n_failed else f"{n_shown:,}, drawn at random, of"
        return (
            f"The page shows {len(self.random):,} of {self.n_trials:,} trials, drawn at random, the "
            f"{len(self.best):,} best, and {failed} the {self.n_failed:,} that failed or were lost. "
            "Values, branches and workers are estimated from the random ones; "
            "counts by state and the best over time are exact."
        )
