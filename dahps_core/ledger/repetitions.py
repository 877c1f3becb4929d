"""The best of combinations that are evaluated several times: by their mean, so that luck does not win."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import replace

from dahps_core.ledger import ranking, reading
from dahps_core.ledger.connection import Transaction
from dahps_core.ledger.search import Search
from dahps_core.trial import Average, TrialRecord

#: Trials are looked at in pages that grow: as a rule the first one is enough.
_FIRST_PAGE = 100
_GROWTH = 4


def is_by_mean(search: Search) -> bool:
    """Whether combinations are judged by the mean of their repetitions; with levels each trial is."""
    return search.space.repetitions > 1 and not search.brackets


def best_by_mean(transaction: Transaction, search: Search, n_best: int) -> list[TrialRecord]:
    """Of so many combinations with the best means their best repetition, with its average."""
    return [
        replace(reading.trial(transaction, number), average=average)
        for number, average in _best_means(transaction, search, n_best)
    ]


def finished_beyond_best_means(
    transaction: Transaction, search: Search, numbers: Iterable[int], n_best: int
) -> list[int]:
    """Those among some trials that are finished for good, and of none of so many of the best combinations.

    As long as a repetition has not ended, its combination may still become one of them.
    """
    best = {
        row["number"]
        for number, _ in _best_means(transaction, search, n_best)
        for row in _repetitions(transaction, search, number)
    }
    return [number for number in _finished_for_good(transaction, search, numbers) if number not in best]


def _best_means(transaction: Transaction, search: Search, n_best: int) -> list[tuple[int, Average]]:
    """Of so many combinations with the best means their best repetition, and their average; the best first.

    A combination counts when all its repetitions have ended, one of them well: the mean is of those that
    finished, and NaN, or no metric, among them keeps it from winning. Of equal means the one with the better
    repetition wins, and then the lower number.

    No mean is better than the best metric in it. So the trials are looked at from the best metric on, and no
    longer than one of them could be in a better mean.
    """
    sign = 1 if search.direction == "minimize" else -1
    found: list[tuple[int, Average]] = []
    seen: set[int] = set()
    for number, score in _from_the_best(transaction, search):
        if len(found) == n_best and score >= sign * found[-1][1].mean:
            break
        if number in seen:
            continue
        rows = _repetitions(transaction, search, number)
        seen.update(row["number"] for row in rows)
        metrics = [row["metric"] for row in rows]
        average = None if None in metrics else Average.of(metrics)
        if average and not math.isnan(average.mean):
            found = sorted([*found, (number, average)], key=lambda one: sign * one[1].mean)[:n_best]
    return found


def _repetitions(transaction: Transaction, search: Search, number: int) -> list[sqlite3.Row]:
    """Those of a trial's combination that have finished."""
    return transaction.rows("metrics_of_repetitions", number=number, repetitions=search.space.repetitions)


def _from_the_best(transaction: Transaction, search: Search) -> Iterator[tuple[int, float]]:
    """Number and score of the trials whose combinations' repetitions have all ended."""
    after, size = None, _FIRST_PAGE
    while page := ranking.ranked(transaction, search, size, after):
        ended = set(_finished_for_good(transaction, search, (one.number for one in page)))
        yield from ((one.number, one.score) for one in page if one.number in ended)
        after, size = page[-1], size * _GROWTH


def _finished_for_good(transaction: Transaction, search: Search, numbers: Iterable[int]) -> list[int]:
    """Those among some trials that are finished, and whose combinations' repetitions have all ended."""
    rows = transaction.rows(
        "finished_of_repeated", numbers=json.dumps(list(numbers)), repetitions=search.space.repetitions
    )
    return [row["number"] for row in rows]
