"""A worker: it claims, runs and records trials until none is left for it.

All workers are alike. Nothing is handed out to them: each claims a trial at the moment it is ready for
one, so a worker that starts late, or never, holds nothing back.
"""

from __future__ import annotations

import logging
import os
import shlex
import time
from collections.abc import Callable
from contextlib import suppress

from dahps_core import unrecorded
from dahps_core.batch import BatchJob
from dahps_core.current import Trial
from dahps_core.errors import ClaimLost, LedgerError, LedgerUnavailableError
from dahps_core.evaluation import Evaluation, Job
from dahps_core.heartbeat import Heart, Observer
from dahps_core.interruption import Interruption
from dahps_core.ledger import Ledger
from dahps_core.ranks import Leader
from dahps_core.trial import Claim, Draw, Ending
from dahps_core.worker_options import WorkerOptions

__all__ = ["Job", "Worker", "WorkerOptions"]

log = logging.getLogger(__name__)

#: The longest pause in seconds between two questions of a worker that waits for a trial; there are few such.
MAX_IDLE_S = 0.5

#: With so many failures one after the other, a worker asks how others fare.
_FAILURES_IN_A_ROW = 3


class Worker:
    """Claims, runs and records trials.

    Args:
        ledger: Where the trials come from; used by this worker alone.
        run: The multirun that the worker belongs to.
        prepare: Makes a trial ready; what it raises is the trial's failure.
        options: How to work.
        batch: The job that this process is.
        run_folder: Where the multirun's trials write.
        leader: Of the job's other ranks, where there are any.
    """

    def __init__(
        self,
        ledger: Ledger,
        run: str,
        prepare: Callable[[Trial], Job],
        options: WorkerOptions,
        batch: BatchJob | None = None,
        run_folder: str | None = None,
        leader: Leader | None = None,
    ) -> None:
        batch = batch or BatchJob()
        self._leader = leader or Leader(BatchJob(), ledger.folder)
        self._ledger = ledger
        self._options = options
        self._id = ledger.register(
            run=run,
            host=batch.host,
            pid=os.getpid(),
            job=batch.name,
            run_folder=run_folder,
            log=batch.log,
        )
        # By this clock from here on: the other one may jump.
        time_left_s = batch.time_left_s()
        self._ends_at = None if time_left_s is None else time.monotonic() + time_left_s
        self._heart = Heart(ledger.folder, self._id, options.lease_s)
        self._observer = Observer(ledger.folder, options.lease_s)
        self._interruption = Interruption()
        self._evaluation = Evaluation(
            ledger, self._id, prepare, options, self._heart, self._interruption, self._leader, batch.log
        )
        self._idle_s = 0.0
        self._next_look = 0.0
        self._failing_row: list[int] = []

    def work(self) -> Draw:
        """Work until there is nothing to do; returns why there is not.

        Whoever is told to end by a signal gives its trial back, and leaves by SystemExit or as the launcher's
        own handler does.
        """
        with self._interruption.hearing_signals():
            with self._heart:
                draw = self._work_and_retire()
            self._leader.end(self._interruption.reason or draw.value)
            self._interruption.answer()
        return draw

    def _work_and_retire(self) -> Draw:
        try:
            draw = self._work()
        except LedgerUnavailableError:
            raise  # it was waited for already; what the worker still holds comes back after its lease
        except BaseException as error:
            # Interrupted (Ctrl-C): the trial goes to the next worker.
            self._ledger.retire(self._id, f"{type(error).__name__}: its worker ended")
            raise
        self._ledger.retire(self._id, self._interruption.reason)
        return draw

    def _work(self) -> Draw:
        draw = Draw.STOPPED if self._interruption.reason else self._draw()
        while not self._interruption.reason:
            if isinstance(draw, Claim):
                ending = self._evaluation.of(draw)
                self._miss_lost_ranks()
                draw = self._record_and_draw(ending)
            elif draw in (Draw.WAIT, Draw.PAUSED):
                self._idle(draw)
                self._miss_lost_ranks()
                draw = self._draw()
            else:
                return draw
        return Draw.STOPPED

    def _miss_lost_ranks(self) -> None:
        if lost := self._leader.lost:
            log.error("%s: this job can run no more trials.", lost)
            self._interruption.tell(lost)

    def _draw(self, after: Ending | None = None) -> Claim | Draw:
        self._heart.beat()
        draw = self._ledger.claim(
            self._id,
            max_trials=self._options.max_trials,
            max_attempts=self._options.max_attempts,
            stop_after_failures=self._options.stop_after_failures,
            dead=self._observer.dead(),
            alive=self._observer.alive(),
            after=after,
            time_left_s=None if self._ends_at is None else self._ends_at - time.monotonic(),
            trial_time_s=self._options.trial_time_s,
            failing_since=self._failing_since(),
        )
        if isinstance(draw, Claim):
            self._idle_s = 0.0
        return draw

    def _failing_since(self) -> int | None:
        return self._failing_row[0] if len(self._failing_row) >= _FAILURES_IN_A_ROW else None

    def _idle(self, draw: Draw) -> None:
        # Only an idle worker watches the others: while there are new trials, nobody needs the lost ones. And
        # no more often than they give signs of life: there may be a thousand of them.
        if time.monotonic() >= self._next_look:
            self._observer.look(self._ledger.watched_workers())
            self._next_look = time.monotonic() + self._options.heartbeat_s
        # While the search is paused, all of them are idle.
        longest_s = self._options.heartbeat_s if draw is Draw.PAUSED else MAX_IDLE_S
        self._idle_s = min(2 * self._idle_s or 0.1, self._options.heartbeat_s, longest_s)
        self._interruption.wait(self._idle_s)

    def _record_and_draw(self, ending: Ending) -> Claim | Draw:
        self._note(ending)
        try:
            # On slow storage this may take longer than a lease: the trial is still held.
            with self._heart.beating(self._options.heartbeat_s):
                return self._recorded_and_drawn(ending)
        except ClaimLost as lost:
            log.warning("%s The attempt's result was dropped.", lost)
            return self._draw()
        except LedgerUnavailableError:
            self._keep_beside(ending)
            raise
        except BaseException:
            with suppress(LedgerError):  # interrupted, but it has ended
                self._ledger.end_if_held(ending)
            raise

    def _recorded_and_drawn(self, ending: Ending) -> Claim | Draw:
        if not self._interruption.reason:
            return self._draw(after=ending)
        self._ledger.end_if_held(ending)
        return Draw.STOPPED

    def _note(self, ending: Ending) -> None:
        if ending.outcome == "finished":
            self._failing_row.clear()
            log.info("#%d finished: %s", ending.number, ending.metric)
        elif ending.outcome == "released":
            log.warning("#%d released: %s", ending.number, ending.error)
        else:
            self._failing_row.append(ending.number)
            log.error("#%d %s:\n%s", ending.number, ending.outcome, ending.error)

    def _keep_beside(self, ending: Ending) -> None:
        """What the ledger could not take goes beside the trial's own output."""
        try:
            kept = unrecorded.write(ending.output_dir or os.getcwd(), ending, self._ledger.folder)
        except OSError as error:
            log.error("#%d could not be recorded anywhere (%s): %s", ending.number, error, ending)
            return
        command = shlex.join(["dahps", "recover", str(self._ledger.folder), str(kept)])
        log.error("#%d could not be recorded. When the storage is back: %s", ending.number, command)
