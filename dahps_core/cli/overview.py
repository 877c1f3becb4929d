"""What there is to know about a search at a glance."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from dahps_core.heartbeat import silent_for_s
from dahps_core.ledger import Ledger
from dahps_core.ledger.rows import row
from dahps_core.ledger.watching import End, PresentWorker
from dahps_core.pace import per_hour
from dahps_core.trial import TrialRecord

#: Seconds without a beat after which a worker is told to be silent; workers judge by their own lease.
SILENT_S = 120.0

#: So many ends of a host, or of all, can tell of a trouble.
_ENOUGH = 3


def overview(ledger: Ledger) -> dict[str, Any]:
    """All of it, as JSON's values, NaN and infinities aside; times in seconds."""
    search = ledger.search
    best, ends, counts = ledger.best(), ledger.last_ends(), ledger.counts()
    present = [_worker(ledger, worker) for worker in ledger.present_workers()]
    pace = per_hour(end.ended_at for end in ends if end.error is None)
    left = search.space.n_trials - sum(
        n for state, n in counts.items() if state.value in ("finished", "cancelled")
    )
    return {
        "ledger": str(ledger.folder),
        "strategy": search.strategy,
        "seed": search.seed,
        "direction": search.direction,
        "metric": search.metric,
        "space_size": search.space.size,
        "repetitions": search.space.repetitions,
        "drawn": ledger.n_drawn,
        "trials": {state.value: count for state, count in counts.items()},
        "levels": [vars(rung) for rung in ledger.rungs()],
        "paused": ledger.is_paused(),
        "workers": ledger.worker_counts(),
        "finished_per_hour": pace,
        "seconds_left": 3600 * max(0, left) / pace if pace and not search.brackets else None,
        "present": present,
        "troubles": list(_troubles(ends, present, left)),
        "best": _best(best) if best else None,
    }


def _best(trial: TrialRecord) -> dict[str, Any]:
    return row(trial) | ({"average": vars(trial.average)} if trial.average else {})


def _worker(ledger: Ledger, worker: PresentWorker) -> dict[str, Any]:
    record = worker.record
    silent_s = silent_for_s(ledger.folder, record.id)
    return {
        "id": record.id,
        "host": record.host,
        "pid": record.pid,
        "job": record.job,
        "state": record.state,
        "trial": worker.trial,
        "started_at": record.started_at,
        "silent_s": silent_s,
        "is_silent": silent_s is None or silent_s > SILENT_S,
    }


def _troubles(ends: Sequence[End], present: Sequence[dict[str, Any]], left: int) -> Iterator[str]:
    errors = Counter(end.error for end in ends if end.error is not None)
    n_failed = sum(errors.values())
    if n_failed >= _ENOUGH and 5 * n_failed >= len(ends):
        error, count = errors.most_common(1)[0]
        yield f"{n_failed} of the last {len(ends)} ends were failures, {count} of them: {error}"
    yield from _failing_hosts(ends)
    n_silent = sum(worker["is_silent"] for worker in present)
    if n_silent and n_silent < len(present):
        yield f"{n_silent} of {len(present)} workers are silent"
    elif left > 0 and n_silent == len(present):
        yield "no worker is alive, and not all of the space has run: a new multirun on this ledger goes on"


def _failing_hosts(ends: Sequence[End]) -> Iterator[str]:
    by_host: dict[str, list[bool]] = defaultdict(list)
    for end in ends:
        by_host[end.host].append(end.error is not None)
    if any(not all(failures) for failures in by_host.values()):
        for host, failures in by_host.items():
            if len(failures) >= _ENOUGH and all(failures):
                yield f"{host}: its last {len(failures)} trials failed, those of other hosts did not all"
