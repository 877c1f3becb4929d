"""What the sweeper sees of its workers, looking no more often than there is something to see."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dahps_core.ledger import Ledger
from dahps_core.ledger.claiming.refusals import is_failing
from dahps_core.ledger.folder.heartbeat import Observer
from dahps_core.ledger.folder.ledger_folder import FILE_NAME
from dahps_core.ledger.progress import ProgressReader
from dahps_core.ledger.sqlite.storage_errors import fresh_stamp
from dahps_core.worker.worker import WorkerOptions


class Watch:
    """The workers of one multirun, and what is left for them.

    Args:
        ledger: Read only.
        run: The multirun's id.
        options: Those of the workers.
        only: The branch that they draw from; None: all of the space.

    Attributes:
        progress: How far the multirun is.
        is_over: Whether nothing is left to run for this multirun.
    """

    def __init__(
        self, ledger: Ledger, run: str, options: WorkerOptions, only: Mapping[str, Any] | None = None
    ) -> None:
        self._limits = [options.limits(only)]
        self._reader = ProgressReader(ledger)
        self.progress = self._reader.read(self._limits)
        self.is_over = False
        self._ledger = ledger
        self._run = run
        self._options = options
        self._changes = _Changes(_written_with_each_change(ledger))
        self._observer = Observer(ledger.folder, options.lease_s)
        self._next_look = 0.0
        self._present: list[str] = []

    def look(self) -> bool:
        """Read the ledger, if it has changed; returns whether it may have."""
        if not self._changes.seen():
            return False
        workers = self._ledger.workers(self._run)
        self._present = [worker.id for worker in workers if worker.ended_at is None]
        self.progress = self._reader.read(self._limits)
        self.is_over = not self.progress.n_left or self._is_ended()
        return True

    def any_alive(self) -> bool:
        """Return whether a worker may be alive."""
        if time.monotonic() >= self._next_look:
            self._observer.look(self._witnesses())
            self._next_look = time.monotonic() + self._options.heartbeat_s
        return bool(set(self._present) - self._observer.dead())

    def _witnesses(self) -> list[str]:
        # One live worker is enough: a thousand heartbeats need not be read.
        alive = self._observer.alive().intersection(self._present)
        return [min(alive)] if alive else self._present

    def _is_ended(self) -> bool:
        """Return whether a worker that starts now gets no trial, though some are left."""
        run, limit = self._ledger.run(self._run), self._options.stop_after_failures
        return run.is_stopped or is_failing(run.n_failed, limit, has_finished=run.has_finished)


class _Changes:
    """Whether a file has changed since the last look but one.

    The storage's clock may tick slowly: what is written within the tick of a look bears the same stamp. So
    one look more is taken when nothing seems to change any more.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamps: tuple[int | None, int | None] = (None, None)

    def seen(self) -> bool:
        try:
            stamp = fresh_stamp(self._path)
        except OSError:
            return True  # the ledger itself waits for a storage
        before, self._stamps = self._stamps, (stamp, self._stamps[0])
        return stamp is None or before != (stamp, stamp)


def _written_with_each_change(ledger: Ledger) -> Path:
    # Not the database: to open and close it would drop the locks that SQLite holds on it.
    database = ledger.folder / FILE_NAME
    return database if database.is_dir() else database.with_name(f"{FILE_NAME}-journal")
