"""The best of combinations that are evaluated several times: by their mean, so that luck does not win."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from dahps_core.ledger import reading
from dahps_core.ledger.connection import Transaction
from dahps_core.ledger.search import Search
from dahps_core.trial import Average, TrialRecord

#: Trials are looked at in pages that grow: as a rule the first one is enough.
_FIRST_PAGE = 100
_GROWTH = 4


def best_mean(transaction: Transaction, search: Search) -> TrialRecord | None:
    """The best repetition of the combination with the best mean, with its average.

    A combination counts when all its repetitions have ended, one of them well: the mean is of those that
    finished, and NaN, or no metric, among them keeps it from winning. Of equal means the one with the better
    repetition wins, and then the lower number.

    No mean is better than the best metric in it. So the trials are looked at from the best metric on, and no
    longer than one of them could be in a better mean.
    """
    sign = 1 if search.direction == "minimize" else -1
    found: tuple[int, Average] | None = None
    seen: set[int] = set()
    for number, metric in _from_the_best(transaction, search):
        if found and sign * metric >= sign * found[1].mean:
            break
        if number in seen:
            continue
        rows = transaction.rows("metrics_of_repetitions", number=number, repetitions=search.space.repetitions)
        seen.update(row["number"] for row in rows)
        average = Average.of([row["metric"] for row in rows])
        if not math.isnan(average.mean) and (not found or sign * average.mean < sign * found[1].mean):
            found = number, average
    return found and replace(reading.trial(transaction, found[0]), average=found[1])


def _from_the_best(transaction: Transaction, search: Search) -> Iterator[tuple[int, float]]:
    """Number and metric of the trials whose combinations count."""
    query = "lowest_of_repeated" if search.direction == "minimize" else "highest_of_repeated"
    offset, size = 0, _FIRST_PAGE
    while rows := transaction.rows(query, repetitions=search.space.repetitions, limit=size, offset=offset):
        yield from ((row["number"], row["metric"]) for row in rows)
        offset, size = offset + size, size * _GROWTH
