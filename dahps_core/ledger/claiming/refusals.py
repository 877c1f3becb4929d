"""Whether a worker can be expected to finish a trial: in time, and on its host."""

from __future__ import annotations

from statistics import median

from dahps_core.ledger.sqlite.database import Transaction
from dahps_core.ledger.views.trial_rows import RunRecord
from dahps_core.model.records import Draw
from dahps_core.text.plural import counted

#: Number of finished trials by which the next one's duration is estimated.
_DURATIONS = 101

#: Number of trials that are searched at most, so that a claim stays short.
_LOOKED_THROUGH = 5000


def is_failing(n_failed: int, limit: int | None, *, has_finished: bool) -> bool:
    """Return whether a multirun ends: `limit` attempts failed or gave NaN before one gave a number."""
    return limit is not None and not has_finished and n_failed >= limit


def summarized_nan(record: RunRecord) -> str:
    """Return how a multirun went that has seen no metric but NaN."""
    n_failed = record.n_failed - record.n_nan
    failures = f", and {counted(n_failed, 'attempt')} failed" if n_failed else ""
    return f"the metric of its first {counted(record.n_nan, 'finished trial')} is NaN{failures}"


def is_out_of_time(transaction: Transaction, time_left_s: float | None, trial_time_s: float | None) -> bool:
    """Return whether the worker's job ends before a trial would."""
    if time_left_s is None:
        return False
    if trial_time_s is None:
        trial_time_s = _usual_time_s(transaction)
    return trial_time_s is not None and time_left_s < trial_time_s


def _usual_time_s(transaction: Transaction) -> float | None:
    """Return the median duration of the last finished trials; None if none has finished."""
    rows = transaction.rows("last_durations", limit=_DURATIONS, looked_through=_LOOKED_THROUGH)
    # A worker's clock may have been set back meanwhile.
    durations = [row["seconds"] for row in rows if row["seconds"] >= 0]
    return median(durations) if durations else None


def probation(transaction: Transaction, worker: str, since: int) -> Draw | None:
    """Decide about a worker all of whose trials failed from a number on, by the results of other hosts.

    Returns:
        RETIRED if most of them finished, so that it is not the trials; WAIT as long as none has ended but
        some run; None, that is, a trial, if they fail as well, or there are none.
    """
    rows = transaction.rows("outcomes_elsewhere", worker=worker, since=since, looked_through=_LOOKED_THROUGH)
    states = [row["state"] for row in rows]
    n_finished = states.count("finished")
    n_failed = states.count("failed") + states.count("died")
    if n_finished > n_failed:
        return Draw.RETIRED
    return Draw.WAIT if not n_failed and "running" in states else None
