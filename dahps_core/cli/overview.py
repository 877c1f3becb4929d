"""Everything about a search at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dahps_core.cli.problems import NoWorkers, troubles
from dahps_core.ledger import Ledger
from dahps_core.ledger.folder.heartbeat import silent_for_s
from dahps_core.ledger.folder.run_clock import began_at
from dahps_core.ledger.folder.run_limits import RunLimits, limits_of, newest_limits
from dahps_core.ledger.folder.unread_resource import unread
from dahps_core.ledger.mixed_configs import finished_by_configs
from dahps_core.ledger.progress import ProgressReader
from dahps_core.ledger.sqlite.storage_errors import storage_time
from dahps_core.ledger.views.export import row
from dahps_core.ledger.views.status import PresentWorker
from dahps_core.model.pace import per_hour
from dahps_core.model.records import TrialRecord


def overview(ledger: Ledger) -> dict[str, Any]:
    """Return the overview as JSON values; times in seconds, NaN and infinities omitted."""
    search = ledger.search
    best, ends, n_drawn = ledger.best(), ledger.last_ends(), ledger.n_drawn
    now_s = storage_time(ledger.folder)
    present, limits = _workers(ledger, now_s)
    alive = [worker for worker in present if not worker["is_silent"]]
    newest = None if alive else newest_limits(ledger.folder)
    bounding = {limits[worker["run"]] for worker in alive} or {newest[1] if newest else RunLimits()}
    progress = ProgressReader(ledger).read(bounding)
    limit = progress.limits
    pace = per_hour((end.ended_at, 1) for end in ends if end.error is None)
    is_paused = ledger.is_paused()
    runs = [worker["run"] for worker in alive] or ([newest[0]] if newest else [])
    ignored = next(filter(None, (unread(ledger.folder, run) for run in dict.fromkeys(runs))), None)
    goes_on = not is_paused and not all(worker["is_stopped"] for worker in alive)
    no_workers = None
    if progress.n_left and not alive:
        no_workers = NoWorkers(progress.n_left, limit, newest and ledger.run(newest[0]))
    return {
        "ledger": str(ledger.folder),
        "strategy": search.strategy,
        "seed": search.seed,
        "direction": search.direction,
        "metric": search.metric,
        "space_size": search.space.size,
        "repetitions": search.space.repetitions,
        "max_trials": limit.max_trials,
        "drawn": n_drawn,
        "done": progress.done,
        "left": progress.left,
        "budget": progress.budget,
        "running": progress.running,
        "unit": progress.unit,
        "branches": [one.only for one in bounding] if all(one.only for one in bounding) else None,
        "trials": {state.value: count for state, count in ledger.counts().items()},
        "levels": [vars(rung) for rung in ledger.rungs()],
        "paused": is_paused,
        "workers": ledger.worker_counts(),
        "finished_per_hour": pace,
        "seconds_left": progress.seconds_left(ends, search.brackets) if goes_on else None,
        "max_time_left_s": _time_left_s(
            ledger, {worker["run"]: limits[worker["run"]] for worker in alive}, now_s
        ),
        "present": present,
        "troubles": list(
            troubles(
                ledger.folder,
                ends,
                present,
                no_workers,
                is_paused=is_paused,
                unread=ignored,
                by_configs=finished_by_configs(ledger),
            )
        ),
        "best": _best(best) if best else None,
    }


def _workers(ledger: Ledger, now_s: float) -> tuple[list[dict[str, Any]], dict[str, RunLimits]]:
    """Return the active and the missing workers, missing ones first, and the limits of their multiruns.

    A silent worker without a trial has died, which harms nothing.
    """
    workers = ledger.present_workers()
    limits = {run: limits_of(ledger.folder, run) for run in {worker.record.run for worker in workers}}
    described = [_worker(ledger, worker, now_s, limits) for worker in workers]
    present = [worker for worker in described if not worker["is_silent"] or worker["trial"] is not None]
    return sorted(present, key=lambda worker: not worker["is_silent"]), limits


def _time_left_s(ledger: Ledger, alive: Mapping[str, RunLimits], now_s: float) -> float | None:
    """Return the seconds until the last multirun starts no more trials; None if one has no time limit."""
    left = [0.0]
    for run, limit in alive.items():
        began = began_at(ledger.folder, run)
        if limit.max_time_s is None or began is None:
            return None
        left.append(began + limit.max_time_s - now_s)
    return max(left) if alive else None


def _best(trial: TrialRecord) -> dict[str, Any]:
    return row(trial) | ({"average": vars(trial.average)} if trial.average else {})


def _worker(
    ledger: Ledger, worker: PresentWorker, now_s: float, limits: Mapping[str, RunLimits]
) -> dict[str, Any]:
    record = worker.record
    silent_s = silent_for_s(ledger.folder, record.id, now_s)
    return {
        "id": record.id,
        "run": record.run,
        "host": record.host,
        "pid": record.pid,
        "job": record.job,
        "state": record.state,
        "trial": worker.trial,
        "started_at": record.started_at,
        "is_stopped": worker.is_stopped,
        "silent_s": silent_s,
        "is_silent": silent_s is None or silent_s > limits[record.run].lease_s,
    }
