"""Which trials a listing shows: found in SQL, so that no record is made of any other trial."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from dahps_core.ledger.sqlite.database import Database, Transaction
from dahps_core.ledger.views import ranking, trial_rows
from dahps_core.model.combination import canonical
from dahps_core.model.records import TrialRecord, TrialState
from dahps_core.strategies.search import Search

#: State of a record -> as the ledger stores it.
_STORED = {state: [state.value] for state in TrialState} | {TrialState.LOST: ["lost", "died"]}


@dataclass(frozen=True)
class Choice:
    """Which trials are listed.

    Attributes:
        state: Only those in this state; None: in any.
        values: Key -> the canonical texts of its values: only those that have one of them, for each key.
    """

    state: TrialState | None = None
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def accepts(self, trial: TrialRecord) -> bool:
        """Return whether a trial is listed."""
        known = trial.combination
        return self.state in (None, trial.state) and all(
            key in known and canonical(known[key]) in texts for key, texts in self.values.items()
        )

    def among(self, transaction: Transaction, numbers: Iterable[int]) -> list[int]:
        """Return all of some trials that may be listed; `accepts` decides."""
        wanted = list(numbers)
        if self == Choice():
            return wanted
        texts = json.dumps([[_written(key, text) for text in texts] for key, texts in self.values.items()])
        states = _stored(TrialState if self.state is None else [self.state])
        rows = transaction.rows("chosen_among", numbers=json.dumps(wanted), states=states, texts=texts)
        return [row["number"] for row in rows]


def _written(key: str, text: str) -> str:
    """Return what every combination with this value contains, as `Combination.to_json` writes it."""
    # The keys of a mapping within a value may be in another order than in the canonical text.
    return f"{json.dumps(key)}: {'' if text[0] in '[{' else text}"


def _stored(states: Iterable[TrialState]) -> str:
    return json.dumps([name for state in states for name in _STORED[state]])


def numbers_in(database: Database, states: Iterable[TrialState]) -> list[int]:
    """See `LedgerReader.numbers_in`."""
    stored = _stored(states)
    rows = database.read(lambda transaction: transaction.rows("numbers_of_unfinished", states=stored))
    return sorted(row["number"] for row in rows)


def by_number(database: Database, search: Search, choice: Choice) -> Iterator[TrialRecord]:
    """Return the chosen trials by number; read by pages, so that no writer waits."""
    for numbers in _pages(database, choice):
        rows = database.read(partial(_rows, search=search, choice=choice, numbers=numbers))
        yield from filter(choice.accepts, trial_rows.records(*rows, search.brackets))


def _pages(database: Database, choice: Choice) -> Iterator[Sequence[int]]:
    found: Sequence[int]
    if choice.state not in (None, TrialState.FINISHED):
        found = numbers_in(database, [choice.state])
    else:
        found = range(database.read(trial_rows.n_drawn))
    for first in range(0, len(found), trial_rows.TRIALS_PER_PAGE):
        yield found[first : first + trial_rows.TRIALS_PER_PAGE]


def best_first(database: Database, search: Search, choice: Choice) -> Iterator[TrialRecord]:
    """Return the chosen trials that rank, the best one first; read by pages, so that no writer waits."""
    after = None
    while True:
        page, rows = database.read(partial(_ranked_rows, search=search, choice=choice, after=after))
        if not page:
            return
        records = {record.number: record for record in trial_rows.records(*rows, search.brackets)}
        found = (records[one.number] for one in page if one.number in records)
        yield from filter(choice.accepts, found)
        after = page[-1]


def _ranked_rows(
    transaction: Transaction, search: Search, choice: Choice, after: ranking.Ranked | None
) -> tuple[list[ranking.Ranked], tuple[list[sqlite3.Row], list[sqlite3.Row]]]:
    page = ranking.ranked(transaction, search, trial_rows.TRIALS_PER_PAGE, after)
    return page, _rows(transaction, search, choice, (one.number for one in page))


def _rows(
    transaction: Transaction, search: Search, choice: Choice, numbers: Iterable[int]
) -> tuple[list[sqlite3.Row], list[sqlite3.Row]]:
    return trial_rows.rows_among(transaction, choice.among(transaction, numbers), search.brackets)
