"""Rows of a damaged ledger whose wrong cells can be omitted, or derived from the others."""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

from dahps_core.ledger.claiming.bound_space import BoundSpace
from dahps_core.ledger.repair.trial_faults import faults_of_combination, faults_of_result
from dahps_core.ledger.sqlite.row_types import TABLES
from dahps_core.model.combination import Combination
from dahps_core.text.json_text import UnreadableJSON, parse_json

Row: TypeAlias = "dict[str, Any]"

#: States of trials all of whose attempts were followed by a person's word.
WITHOUT_ATTEMPT = ("queued", "cancelled")

#: Table -> column -> the replacement of a value that cannot be read. A row with any other wrong cell is lost.
_SUBSTITUTES: dict[str, Row] = {
    "meta": {"created_at": 0, "locking": "", "is_uniform": 1},
    "space": {"added_at": 0, "cursor": 0, "is_branch": None, "n_enqueued": 0, "n_between": 0},
    "run": {"folder": None, "has_finished": 0, "n_failed": 0, "is_stopped": 0, "is_to_release": 0},
    "worker": {
        **dict.fromkeys(("job", "batch", "log", "branch", "ended_at")),
        "host": "?",
        "pid": 0,
        "state": "left",
        "started_at": 0,
    },
    "trial": {
        **dict.fromkeys(("position", "token", "worker", "started_at", "ended_at", "output_dir", "error")),
        **dict.fromkeys(("combination", "digest", "repetition", "metric", "metric_is_nan", "result")),
        "space": None,
        "state": "finished",
        "charged": 0,
        "pardoned": 0,
        "attempts": None,
        "level": None,
    },
    "attempt": {
        **dict.fromkeys(("token", "worker", "started_at", "ended_at", "output_dir", "error")),
        **dict.fromkeys(("metric", "metric_is_nan", "result")),
    },
    "report": {"metric_is_nan": None},
}


def repaired(row: Row, table: str) -> Row | None:
    """Return a row with substitutes for its wrong cells; None if one is wrong that has none."""
    wrong = [column for column, kind in TABLES[table].items() if not kind.fits(row[column])]
    substitutes = _SUBSTITUTES[table]
    if not substitutes.keys() >= set(wrong):
        return None
    return {**row, **{column: substitutes[column] for column in wrong}}


def repaired_trial(row: Row, spaces: Mapping[int, BoundSpace], metric: str | None) -> Row | None:
    """Return the row of a trial whose combination and result are certain; None if they are not.

    Args:
        row: As it was read; `attempts` is None in the answer if it is not known.
        spaces: All spaces of the ledger, by their ids.
        metric: The objective's name.
    """
    found = repaired(row, "trial")
    if found is None or not _settle_result(found, found["state"] == "finished", metric):
        return None
    if found["state"] in WITHOUT_ATTEMPT:
        found |= dict.fromkeys(("token", "worker", "started_at", "ended_at"))
    else:
        found |= _settled(found, has_ended=found["state"] != "running")
    return next(_drawn(found, spaces), None)


def repaired_attempt(row: Row, metric: str | None) -> Row | None:
    """Return the row of an attempt that is over, if its outcome is certain; None if it is not."""
    found = repaired(row, "attempt")
    if found is None or not _settle_result(found, found["outcome"] == "finished", metric):
        return None
    return found | _settled(found, has_ended=True)


def _settled(row: Row, *, has_ended: bool) -> Row:
    """Return what is known of an attempt for certain: new cells for those that are missing."""
    now = time.time()
    return {
        "token": row["token"] or secrets.token_hex(16),
        "worker": row["worker"] or "",
        "started_at": now if row["started_at"] is None else row["started_at"],
        "ended_at": None if not has_ended else now if row["ended_at"] is None else row["ended_at"],
    }


def _settle_result(row: Row, is_finished: bool, name: str | None) -> bool:
    """Complete metric and result by each other; return whether the row is then one that the schema takes."""
    if is_finished and row["result"] is None and (row["metric"] is not None or row["metric_is_nan"]):
        row["result"] = json.dumps(math.nan if row["metric_is_nan"] else row["metric"])
    if row["metric"] is None and not row["metric_is_nan"]:
        derived = _objective(row["result"], name) if is_finished and row["result"] else None
        is_nan = derived is not None and math.isnan(derived)
        row |= {"metric": None if is_nan else derived, "metric_is_nan": int(is_nan)}
    row["metric_is_nan"] = row["metric_is_nan"] or 0
    if not is_finished:
        return row["result"] is None and row["metric"] is None and not row["metric_is_nan"]
    is_one = row["metric"] is None or not row["metric_is_nan"]
    return is_one and row["result"] is not None and not any(faults_of_result(row))


def _objective(result: str, name: str | None) -> float | None:
    try:
        value = parse_json(result)
    except UnreadableJSON:
        return None
    number = value.get(name) if isinstance(value, dict) else value
    return number if isinstance(number, float) else None


def _drawn(trial: Row, spaces: Mapping[int, BoundSpace]) -> Iterator[Row]:
    """Yield what a trial can be: drawn from its own space, from another one, or queued by a person."""
    own = [trial["space"]] if trial["space"] in spaces else []
    for position in dict.fromkeys((trial["position"], None)):
        for space in dict.fromkeys([*own, *spaces]):
            order = spaces[space]
            one = {**trial, "space": space, "position": position, "cursor": order.space.n_trials}
            one |= (
                _derived_from_position(one, order) if position is not None else _derived_from_combination(one)
            )
            if one["level"] is None and order.rungs is None:
                one["level"] = 0
            if None in (one["combination"], one["digest"], one["repetition"], one["level"]):
                continue
            if order.has_level(one["number"], one["level"]) and not any(faults_of_combination(one, order)):
                yield one


def _derived_from_position(trial: Row, order: BoundSpace) -> Row:
    """Return what a position says of a trial, if the combination or the digest agrees."""
    if trial["position"] >= order.space.n_trials:
        return {}
    combination, repetition = order.trial_at(trial["position"])
    derived = {"combination": combination.to_json(), "digest": combination.digest()}
    agrees = any(trial[name] == value for name, value in derived.items())
    return {**derived, "repetition": repetition} if agrees else {}


def _derived_from_combination(trial: Row) -> Row:
    if trial["digest"] is None and trial["combination"] is not None:
        with suppress(UnreadableJSON):
            return {"digest": Combination.from_json(trial["combination"]).digest()}
    return {}
