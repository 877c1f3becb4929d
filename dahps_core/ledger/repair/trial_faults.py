"""What can be wrong with a single trial of a ledger, by its own row."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from dahps_core.ledger.claiming.bound_space import BoundSpace
from dahps_core.model.combination import Combination
from dahps_core.text.json_text import UnreadableJSON, parse_json


def attempts_at_levels(trial: Any, earlier: list[Any]) -> Iterator[tuple[int, str, float | None, float]]:
    """Return the attempts of a trial in the form of `ends_at_levels`."""
    for row in earlier:
        yield row["level"], row["outcome"], metric_of(row), row["ended_at"]
    yield trial["level"], trial["state"], metric_of(trial), trial["ended_at"]


def metric_of(row: Any) -> float | None:
    """Return the metric of a row of a trial or an attempt."""
    return math.nan if row["metric_is_nan"] else row["metric"]


def faults_of_combination(trial: Any, drawn_from: BoundSpace) -> Iterator[str]:
    """Yield what is wrong with a trial's combination."""
    position = trial["position"]
    if position is not None and not 0 <= position < min(trial["cursor"], drawn_from.space.n_trials):
        yield f"position {position} was not drawn from its space yet"
        return
    try:
        found = Combination.from_json(trial["combination"])
    except UnreadableJSON:
        yield "its combination cannot be read"
        return
    if position is None:
        if not drawn_from.space.has(found, trial["repetition"], may_be_between=True):
            yield "its combination is not in its space"
    elif (found, trial["repetition"]) != drawn_from.trial_at(position):
        yield "its combination differs from its space's at this position"
    if found.digest() != trial["digest"]:
        yield "its digest belongs to another combination"


def faults_of_result(trial: Any) -> Iterator[str]:
    """Yield what is wrong with the result of a finished trial."""
    metric = metric_of(trial)
    try:
        result = parse_json(trial["result"])
    except UnreadableJSON:
        yield "its result cannot be read"
        return
    numbers = list(result.values()) if isinstance(result, dict) else [result]
    if metric is None:
        is_sound = not isinstance(result, float)  # a number would be the metric
    else:
        is_sound = metric in numbers or (math.isnan(metric) and any(map(_is_nan, numbers)))
    if not is_sound:
        yield "its metric is not in its result"


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
