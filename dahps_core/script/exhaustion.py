"""Why there is no combination for a script, in words for people."""

from __future__ import annotations

from dahps_core.ledger import Ledger
from dahps_core.ledger.claiming.refusals import summarized_nan
from dahps_core.model.records import Draw

_DRAWN = "all combinations (or the `k` requested) are drawn"
_WORDS = {
    Draw.EXHAUSTED: f"{_DRAWN}, and none needs rerunning",
    Draw.LEAVE: f"{_DRAWN}, and other processes wait already for trials that may have to be rerun",
    Draw.STOPPED: "a person stopped the search",
    Draw.TIME_UP: "max_time is over",
    Draw.OUT_OF_TIME: "this job ends before another trial would",
    Draw.RETIRED: "trials fail on this host that succeed elsewhere",
}


def why_exhausted(draw: Draw, ledger: Ledger, run: str) -> str:
    """Explain why a process of a run got no trial."""
    if draw is not Draw.FAILING:
        return _WORDS[draw] + _best_of_levels(ledger)
    record = ledger.run(run)
    if record.n_nan:
        return summarized_nan(record)
    first = "trial {}: {}".format(*record.first_failure) if record.first_failure else "no error is known"
    return f"the first {record.n_failed} attempts all failed; {first}"


def _best_of_levels(ledger: Ledger) -> str:
    best = ledger.best() if ledger.search.brackets else None
    if best is None:
        return ""
    return f"; the best at the highest level, {best.resource}, is trial {best.number} with {best.metric}"
