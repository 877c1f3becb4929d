"""What the holder of a claim writes, fenced by its token: the attempt's history, and how the attempt ends."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable

from dahps_core.errors import ClaimLost
from dahps_core.ledger.claiming.rungs import Rungs
from dahps_core.ledger.sqlite.database import Parameter, Transaction
from dahps_core.model.records import Claim, Ending, Report


def end_if_held(transaction: Transaction, ending: Ending, rungs: Rungs | None) -> None:
    """Record how an attempt ended, also in its rung if the strategy has any.

    Raises:
        ClaimLost: The trial was claimed by another worker, or cancelled.
    """
    if ending.outcome == "finished":
        is_held = _change(transaction, "finish_trial", ending, **_result(ending))
        # A search whose metric is NaN each time ends as one does whose trials all fail.
        is_nan = ending.metric is not None and math.isnan(ending.metric)
        consequence = "count_failure" if is_nan else "run_has_finished_one"
    elif ending.outcome == "released":
        is_held = _change(transaction, "release_trial", ending, error=storable(ending.error))
        consequence = None
    else:
        is_held = _change(
            transaction, "end_trial", ending, state=ending.outcome, error=storable(ending.error)
        )
        consequence = "count_failure"
    if not is_held:
        _expect_outcome(transaction, ending)
        return
    if consequence:
        transaction.change(consequence, number=ending.number)
        if rungs:
            level = int(transaction.value("level_of_trial", number=ending.number) or 0)
            rungs.enter(transaction, ending.number, level, ending.metric)
    _put_reports(transaction, ending, ending.reports)


def report_if_held(transaction: Transaction, claim: Claim, reports: Iterable[Report]) -> None:
    """Record what an attempt reported; raises as `end_if_held` does."""
    if not transaction.value("is_held", number=claim.number, token=claim.token):
        raise _lost(claim)
    _put_reports(transaction, claim, reports)


def storable(text: str | None) -> str | None:
    """Make a text storable in SQLite: a path or a traceback may contain bytes that are not UTF-8 (lone
    surrogates).
    """
    return text and text.encode("utf-8", "backslashreplace").decode()


def _change(transaction: Transaction, edge: str, ending: Ending, **data: Parameter) -> bool:
    changed = transaction.change(
        edge,
        number=ending.number,
        token=ending.token,
        now=time.time(),
        output_dir=storable(ending.output_dir),
        **data,
    )
    return changed == 1


def _result(ending: Ending) -> dict[str, Parameter]:
    return {**_metric(ending.metric), "result": json.dumps(ending.result)}


def _metric(metric: float | None) -> dict[str, Parameter]:
    is_nan = metric is not None and math.isnan(metric)
    return {"metric": None if is_nan or metric is None else float(metric), "metric_is_nan": int(is_nan)}


def _put_reports(transaction: Transaction, attempt: Claim | Ending, reports: Iterable[Report]) -> None:
    for step, metric in reports:
        transaction.change(
            "put_report", number=attempt.number, attempt=attempt.attempt, step=step, **_metric(metric)
        )


def _expect_outcome(transaction: Transaction, ending: Ending) -> None:
    # The answer to a COMMIT may be lost and the call repeated: what is written already is no loss.
    found = transaction.value(
        "outcome_of_attempt", number=ending.number, attempt=ending.attempt, token=ending.token
    )
    if found != ending.outcome:
        raise _lost(ending)


def _lost(attempt: Claim | Ending) -> ClaimLost:
    return ClaimLost(
        f"attempt {attempt.attempt} no longer holds the trial: "
        "it was released, claimed by another worker, or cancelled",
        where=f"trial {attempt.number}",
        hint="Nothing needs to be done: the trial's current worker records it",
    )
