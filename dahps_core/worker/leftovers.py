"""Files that workers left behind: each worker that starts removes some that nothing alive needs.

The ledger alone decides whether a file is needed, and the storage's clock how old it is. A worker that lives,
but was stopped for so long that its heartbeat was removed, creates the file again at its next heartbeat.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from dahps_core.errors import LedgerError
from dahps_core.ledger import Ledger
from dahps_core.ledger.folder import run_clock
from dahps_core.ledger.folder.run_limits import file_of_limits, some_limits

#: How many files of a kind one worker removes at most, and for how many seconds.
MOST_REMOVED = 50
_BUDGET_S = 1.0
#: Number of workers in one query of the ledger.
_QUERY_SIZE = 1000
#: Number of leases of silence after which a worker without a trial has left.
_SILENT_LEASES = 10
#: Age in seconds at which half a file, or the address of a job's leader, is of no use to any process.
_LEFT_OVER_S = 3600.0
#: Folders in which files with such names exist for a moment, or until a job starts.
_MOMENTARY = (
    (".", (".clock-*", "notices.*")),
    (run_clock.FOLDER_NAME, ("*.json.*",)),
    ("commands", ("*.json.*",)),
    ("ranks", ("*",)),
)


def remove_leftovers(ledger: Ledger, heart: Path, lease_s: float) -> None:
    """Remove some files that no worker needs any more; if the storage refuses, leave them to another worker.

    Args:
        ledger: The ledger of the worker that starts.
        heart: Its heartbeat, which has just been touched.
        lease_s: Its lease.
    """
    end = time.monotonic() + _BUDGET_S
    with suppress(OSError, LedgerError):
        now_s = heart.stat().st_mtime
        found = chain(
            _heartbeats(ledger, heart, now_s - _SILENT_LEASES * lease_s),
            _of_ended_runs(ledger, now_s),
            _momentary(ledger.folder, now_s - _LEFT_OVER_S),
        )
        for path in found:
            with suppress(OSError):
                path.unlink()
            if time.monotonic() > end:
                break


def _heartbeats(ledger: Ledger, own: Path, before_s: float) -> Iterator[Path]:
    """Find heartbeats of workers that have left, or run nothing and have been silent since a time."""
    names = [name for name in os.listdir(own.parent) if name != own.name]
    if not names:
        return
    idle = ledger.idle_workers(random.sample(names, min(_QUERY_SIZE, len(names))))
    some = random.sample(sorted(idle), min(MOST_REMOVED, len(idle)))
    left = [worker for worker in some if idle[worker] == "left"]
    silent = [worker for worker in some if worker not in left and _is_older(own.with_name(worker), before_s)]
    # The ledger first: a worker that it calls present has its file.
    for worker in left + (ledger.dismiss(silent) if silent else []):
        yield own.with_name(worker)


def _of_ended_runs(ledger: Ledger, now_s: float) -> Iterator[Path]:
    """Find what was kept for multiruns whose workers have left; a job that is still queued records it
    again.
    """
    limits = dict(some_limits(ledger.folder, MOST_REMOVED))
    for run in ledger.ended_runs(limits) if limits else []:
        began = run_clock.began_at(ledger.folder, run)
        if began is not None and not ledger.run(run).is_stopped:
            if now_s - began < (limits[run].max_time_s or now_s):
                continue  # a queued job would restart the clock
            ledger.stop(run=run)
        if began is not None:
            yield run_clock.file_of_run(ledger.folder, run)
        yield file_of_limits(ledger.folder, run)


def _momentary(folder: Path, before_s: float) -> Iterator[Path]:
    for place, patterns in _MOMENTARY:
        for pattern in patterns:
            yield from (path for path in (folder / place).glob(pattern) if _is_older(path, before_s))


def _is_older(path: Path, before_s: float) -> bool:
    with suppress(OSError):
        return path.lstat().st_mtime < before_s
    return False
