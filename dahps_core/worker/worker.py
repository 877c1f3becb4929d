"""A worker: it claims, runs and records trials until none is left for it.

All workers are alike. Nothing is handed out to them: each claims a trial at the moment it is ready for
one, so a worker that starts late, or never, holds nothing back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing, suppress

from dahps_core.environment.batch_job import BatchJob
from dahps_core.ledger import Ledger
from dahps_core.model.pace import shown_duration
from dahps_core.model.records import Claim, Draw, Ending
from dahps_core.process.shutdown import Interruption
from dahps_core.ranks import Leader
from dahps_core.trial.current import Trial
from dahps_core.worker.attempt import Evaluation, Job
from dahps_core.worker.charging import charging
from dahps_core.worker.options import WorkerOptions
from dahps_core.worker.session import Claims

__all__ = ["Job", "Worker", "WorkerOptions"]

log = logging.getLogger(__name__)


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
        self._ledger = ledger
        self._leader = leader or Leader(BatchJob(), ledger.folder)
        self._interruption = Interruption()
        self._claims = Claims(
            ledger, run, options, self._interruption, batch, run_folder, self._miss_lost_ranks
        )
        self._evaluation = Evaluation(
            ledger, self._claims, prepare, options, self._interruption, self._leader, batch.log
        )

    def work(self) -> Draw:
        """Work until there is nothing to do; returns why there is not. To be called once.

        On a signal to end, the worker releases its trial, and leaves by SystemExit or as the launcher's
        own handler does.
        """
        with closing(self._interruption), self._interruption.hearing_signals():
            with self._claims:
                draw = self._work()
            self._leader.end(self._interruption.reason or draw.value)
            self._interruption.answer()
        return draw

    def _work(self) -> Draw:
        draw = self._claims.next()
        while isinstance(draw, Claim):
            began = time.monotonic()
            with charging(self._ledger, draw):
                ending = self._evaluation.of(draw)
                with suppress(Exception):  # nothing that a log's handler raises may cost a result
                    _note(ending, shown_duration(time.monotonic() - began))
                self._miss_lost_ranks()
                draw = self._claims.next(after=ending)
        return draw

    def _miss_lost_ranks(self) -> None:
        if lost := self._leader.lost:
            log.error("%s: this job cannot run more trials.", lost)
            self._interruption.request(lost)


def _note(ending: Ending, took: str) -> None:
    if ending.outcome == "finished":
        log.info("#%d finished: %s after %s", ending.number, ending.metric, took)
    elif ending.outcome == "released":
        log.warning("#%d released: %s", ending.number, ending.error)
    else:
        log.error("#%d %s after %s:\n%s", ending.number, ending.outcome, took, ending.error)
