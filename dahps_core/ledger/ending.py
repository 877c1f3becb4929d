"""How an attempt ends: the edges that leave `running`, each guarded by the claim's token."""

from __future__ import annotations

import json
import math
import time

from dahps_core.errors import ClaimLost
from dahps_core.ledger.connection import Parameter, Transaction
from dahps_core.trial import Ending


def end_if_held(transaction: Transaction, ending: Ending) -> None:
    """Record how an attempt ended.

    Raises:
        ClaimLost: The trial was claimed by another worker, or cancelled.
    """
    if ending.outcome == "finished":
        is_held = _change(transaction, "finish_trial", ending, **_result(ending))
        consequence = "run_has_finished_one"
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
    elif consequence:
        transaction.change(consequence, number=ending.number)


def storable(text: str | None) -> str | None:
    """A text that SQLite takes: a path or a traceback may hold bytes that are no UTF-8 (lone surrogates)."""
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
    is_nan = ending.metric is not None and math.isnan(ending.metric)
    return {
        "metric": None if is_nan or ending.metric is None else float(ending.metric),
        "metric_is_nan": int(is_nan),
        "result": json.dumps(ending.result),
    }


def _expect_outcome(transaction: Transaction, ending: Ending) -> None:
    # The answer to a COMMIT may be lost and the call repeated: what is written already is no loss.
    found = transaction.value(
        "outcome_of_attempt", number=ending.number, attempt=ending.attempt, token=ending.token
    )
    if found != ending.outcome:
        raise ClaimLost(
            f"attempt {ending.attempt} is held no longer: "
            "the trial was given up, claimed by another worker, or cancelled",
            where=f"trial {ending.number}",
            mend="Nothing is to be done: whoever holds the trial now records it",
        )
