"""Which finished trials are the best ones, and in which order: nothing else ranks the trials of a ledger.

NaN and a missing metric never rank. Without levels, the metric decides, and of equal ones the lower number is
first. With levels, the highest level where a trial has a score decides, then the score there, and of equals
the earlier end is first. Each order is read step by step from an index, so that a page costs the same however
many trials there are.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from dahps_core.ledger.sqlite.database import Transaction
from dahps_core.ledger.sqlite.row_types import Misfit
from dahps_core.ledger.views import trial_rows
from dahps_core.model.records import TrialRecord
from dahps_core.strategies.brackets import Brackets
from dahps_core.strategies.search import Search
from dahps_core.text.json_text import parse_json


class Ranked(NamedTuple):
    """Where a trial is in the order; the next page begins after it.

    Attributes:
        level: The highest one where it has a score; 0 without levels.
        score: The metric there, negated if it is maximized: the lowest is best.
        tie: Of equal scores the lowest is best: its number, or with levels its place among all ends.
    """

    number: int
    level: int
    score: float
    tie: int


def ranked(transaction: Transaction, search: Search, limit: int, after: Ranked | None = None) -> list[Ranked]:
    """Return the next trials in the order, the best one first."""
    if search.brackets:
        return _ranked_by_levels(transaction, search.brackets.top, limit, after)
    query, sign = ("ranked_lowest", 1) if search.direction == "minimize" else ("ranked_highest", -1)
    _, _, score, number = after or Ranked(-1, 0, -math.inf, -1)
    rows = transaction.rows(query, metric=sign * score, number=number, limit=limit)
    return [Ranked(row["number"], 0, sign * row["metric"], row["number"]) for row in rows]


def _ranked_by_levels(transaction: Transaction, top: int, limit: int, after: Ranked | None) -> list[Ranked]:
    found: list[Ranked] = []
    _, first, score, place = after or Ranked(-1, top, -math.inf, -1)
    for level in range(first, -1, -1):
        n_wanted = limit - len(found)
        rows = transaction.rows("ranked_at_level", level=level, score=score, place=place, limit=n_wanted)
        found += [Ranked(row["number"], level, row["score"], row["place"]) for row in rows]
        if len(found) == limit:
            break
        score, place = -math.inf, -1
    return found


def best(transaction: Transaction, search: Search, n_best: int) -> list[TrialRecord]:
    """Return the best trials, each as it was at the level that it ranks by."""
    found = ranked(transaction, search, n_best)
    rows, results = trial_rows.rows_among(transaction, [one.number for one in found], search.brackets)
    records = {record.number: record for record in trial_rows.records(rows, results, search.brackets)}
    if missing := {one.number for one in found} - records.keys():
        raise Misfit(f"trial {min(missing)} does not exist, but is in a rung")
    if not search.brackets:
        return [records[one.number] for one in found]
    return [_at_level(records[one.number], results, one.level, search.brackets) for one in found]


def _at_level(
    last: TrialRecord, results: Sequence[sqlite3.Row], level: int, brackets: Brackets
) -> TrialRecord:
    """Return a trial as it was at a level: it may have failed later."""
    if last.level == level:
        return last
    there = next((row for row in results if (row["trial"], row["level"]) == (last.number, level)), None)
    if there is None:
        raise Misfit(f"trial {last.number} has no result at its level {level}")
    return replace(
        last,
        metric=trial_rows.metric_of(there),
        result=parse_json(there["result"]),
        output_dir=there["output_dir"],
        level=level,
        resource=brackets.resource(last.number, level),
    )


def finished_beyond_best(
    transaction: Transaction, search: Search, numbers: Iterable[int], n_best: int
) -> list[int]:
    """Return all of some trials that are finished finally, except those among the best ones.

    With levels, a trial that has finished below the highest one may still be promoted.
    """
    top = search.brackets.top if search.brackets else 0
    finished = transaction.rows("finished_among", numbers=json.dumps(list(numbers)), level=top)
    best = {one.number for one in ranked(transaction, search, n_best) if one.level == top}
    return [row["number"] for row in finished if row["number"] not in best]
