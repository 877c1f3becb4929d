"""A worker's dealings with its ledger, whatever evaluates the trials: it draws, waits, records and leaves."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType

from dahps_core.checkpoints import remove_unfinished, remove_unkept
from dahps_core.environment.batch_job import BatchJob
from dahps_core.errors import ClaimLost, LedgerError, LedgerUnavailableError
from dahps_core.ledger import Ledger
from dahps_core.ledger.folder import unrecorded
from dahps_core.ledger.folder.heartbeat import Heart, Observer
from dahps_core.ledger.folder.run_clock import RunClock
from dahps_core.ledger.folder.unread_resource import ADVICE, described, note_unread
from dahps_core.ledger.views.trial_rows import WorkerRecord
from dahps_core.model.records import Claim, Draw, Ending
from dahps_core.process import linux
from dahps_core.process.shutdown import Interruption
from dahps_core.strategies.stopping import Stopper
from dahps_core.text.printing import pasted
from dahps_core.trial.current import Trial
from dahps_core.trial.history import History
from dahps_core.worker.charging import charging
from dahps_core.worker.leftovers import remove_leftovers
from dahps_core.worker.options import WorkerOptions

log = logging.getLogger(__name__)

#: The longest pause in seconds between two questions of a worker that waits for a trial; there are few such.
MAX_IDLE_S = 0.5

#: How many heartbeats a worker that waits opens in each interval. With the default lease of eight intervals,
#: it sees that 1,024 workers live; where more run trials, more workers wait than may be needed.
OBSERVED_AT_ONCE = 128

#: Number of other trials whose median is taken.
OTHERS_OF_STOPPER = 100

#: Number of consecutive failures after which a worker compares itself with others.
_FAILURES_IN_A_ROW = 3


class Claims:
    """What one worker claims of a ledger, one trial after the other.

    A context manager: inside, the worker is seen to live; on leaving, it gives back what it still holds.

    Args:
        ledger: Where the trials come from; used by this worker alone.
        run: The multirun that the worker belongs to.
        options: How to work.
        interruption: Requests the worker to end: it draws no more.
        batch: The job that this process is.
        run_folder: Where the multirun's trials write.
        look: Called whenever the worker has waited for a trial.
        resume: The worker in whose place this one was started: its trial is the first that is claimed.

    Attributes:
        worker: The worker's id.
        heart: To beat while a trial is evaluated.
    """

    def __init__(
        self,
        ledger: Ledger,
        run: str,
        options: WorkerOptions,
        interruption: Interruption,
        batch: BatchJob,
        run_folder: str | None = None,
        look: Callable[[], None] = lambda: None,
        resume: WorkerRecord | None = None,
    ) -> None:
        self._ledger = ledger
        self._options = options
        self._interruption = interruption
        self._look = look
        self._run = run
        self._run_folder = run_folder
        self.worker = ledger.register(
            run=run,
            host=batch.host,
            pid=os.getpid(),
            job=batch.name,
            run_folder=run_folder,
            log=batch.log,
            batch=batch.lineage,
        )
        self._resume = resume.id if resume else None
        is_gone = resume is not None and resume.host == batch.host and not linux.is_there(resume.pid)
        self._gone = {resume.id} if resume and is_gone else set()
        # By this clock from here on: the other one may jump.
        time_left_s = batch.time_left_s()
        self._ends_at = None if time_left_s is None else time.monotonic() + time_left_s
        self.heart = Heart(ledger.folder, self.worker, options.lease_s)
        self._run_clock = RunClock(ledger.folder, run)
        self._observer = Observer(ledger.folder, options.lease_s, most=OBSERVED_AT_ONCE)
        self._idle_s = 0.0
        self._next_look = 0.0
        self._failing_row: list[int] = []
        self._notice: int | None = None
        self._lost_token: str | None = None
        self._has_warned = False

    def has_lost(self, claim: Claim, in_doubt: bool) -> bool:
        """Return whether a trial was taken from this worker, or cancelled; checked at each heartbeat.

        True once for each claim that is lost.

        The ledger is read only if a person has said something, or if the claim is `in_doubt`, as `Heart.beat`
        has it. A worker that is to end at once is interrupted.
        """
        with suppress(LedgerError):  # a storage that is gone is no answer: the next heartbeat checks again
            notice = self._ledger.notice()
            is_to_query = notice != self._notice or (in_doubt and self._ledger.is_reachable())
            if not is_to_query or claim.token == self._lost_token:
                return False
            is_held = self._ledger.is_held(claim)
            if is_held and not self._interruption.reason and self._ledger.is_to_release(self.worker):
                self._interruption.request("dahps stop --now: its worker had to end")
            self._notice = notice
            if not is_held:
                self._lost_token = claim.token
            return not is_held
        return False

    def begun(self, claim: Claim) -> tuple[Trial, History]:
        """Return a claimed trial as the code that evaluates it sees it, and its history."""
        history = History(partial(self._ledger.record_history, claim), self._stopper(claim))
        trial = Trial(
            number=claim.number,
            attempt=claim.attempt,
            repetition=claim.repetition,
            combination=claim.combination,
            _checkpoint_dir=self._ledger.checkpoint_dir(claim.number),
            level=claim.level,
            _resource=claim.resource,
            _history=history,
        )
        # Neither a fork nor a trial that closes or writes to what is open may find the connection.
        self._ledger.close()
        return trial, history

    def warn_if_unread(self, trial: Trial) -> None:
        """Say once if a trial that has finished was given a resource, and did not look at it."""
        if trial.number is not None and trial.ignores_resource and not self._has_warned:
            self._has_warned = True
            log.warning("%s. %s.", described(trial.number), ADVICE)
            note_unread(self._ledger.folder, self._run, trial.number)

    def _stopper(self, claim: Claim) -> Stopper | None:
        """Return what decides whether a trial should stop, by the ledger's facts at its start."""
        rule, direction = self._options.stop, self._ledger.search.direction
        if rule is None:
            return None
        before = {step: metric for _, step, metric in self._ledger.history(claim.number)}
        others = self._ledger.last_histories(OTHERS_OF_STOPPER) if rule == "median" else []
        return Stopper(rule, self._options.stop_after, direction, before, others)

    def __enter__(self) -> Claims:
        self.heart.__enter__()
        remove_leftovers(self._ledger, self.heart.path, self._options.lease_s)
        if self._options.max_time_s is not None:
            self._run_clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # The ledger is unreachable: do not retire; the lease frees the trial.
            if not isinstance(error, LedgerUnavailableError):
                why = f"{type(error).__name__}: its worker ended" if error else self._interruption.reason
                try:
                    self._ledger.retire(self.worker, why)
                except KeyboardInterrupt:
                    # The terminal signals all its processes, and a launcher then its own: two are one Ctrl-C.
                    self._ledger.retire(self.worker, why)
                    raise
        finally:
            self.heart.stop()

    def next(self, after: Ending | None = None, limit_s: float | None = None) -> Claim | Draw:
        """Return the next trial, or why there is none; waits while one may run again.

        Args:
            after: How the last one ended, recorded in the same transaction.
            limit_s: For how many seconds to wait; None: as long as it takes.

        Raises:
            LedgerUnavailableError: The storage refused; the ending is kept beside the trial's own output.
        """
        draw = self._draw() if after is None else self._record_and_draw(after)
        if after is not None:
            self._tidy(after)
        deadline = math.inf if limit_s is None else time.monotonic() + limit_s
        while draw in (Draw.WAIT, Draw.PAUSED) and not self._interruption.reason:
            if time.monotonic() >= deadline:
                return draw
            self._idle(draw)
            self._look()
            draw = self._draw()
        # What was claimed at that very moment is given back on leaving.
        return Draw.STOPPED if self._interruption.reason else draw

    def record(self, ending: Ending) -> None:
        """Record how an attempt ended; draw nothing.

        Raises:
            ClaimLost: The trial was claimed by another worker, or cancelled.
            LedgerUnavailableError: As in `next`.
        """
        with charging(self._ledger, ending), self._ending(ending):
            self._ledger.end_if_held(ending)
        self._tidy(ending)

    def _tidy(self, ending: Ending) -> None:
        remove_unfinished(self._ledger.checkpoint_dir(ending.number), ending.attempt)
        if ending.outcome == "finished" and self._options.keep_checkpoints is not None:
            with self.heart.beating(self._options.heartbeat_s):
                remove_unkept(self._ledger, self._options.keep_checkpoints, self._options.max_attempts)

    def _draw(self, after: Ending | None = None) -> Claim | Draw:
        if self._interruption.reason:
            if after is not None:
                self._ledger.end_if_held(after)
            return Draw.STOPPED
        self.heart.beat()
        draw = self._ledger.claim(
            self.worker,
            max_trials=self._options.max_trials,
            max_attempts=self._options.max_attempts,
            stop_after_failures=self._options.stop_after_failures,
            dead=self._observer.dead() | self._gone,
            alive=self._observer.alive(),
            after=after,
            time_left_s=None if self._ends_at is None else self._ends_at - time.monotonic(),
            trial_time_s=self._options.trial_time_s,
            failing_since=self._failing_since(),
            resume=self._resume,
            max_resource_total=self._options.max_resource_total,
            is_time_up=self._is_time_up(),
        )
        if isinstance(draw, Claim):
            self._idle_s, self._resume = 0.0, None
        return draw

    def _is_time_up(self) -> bool:
        limit_s = self._options.max_time_s
        return limit_s is not None and self._run_clock.elapsed_s(self.heart.path) >= limit_s

    def _failing_since(self) -> int | None:
        return self._failing_row[0] if len(self._failing_row) >= _FAILURES_IN_A_ROW else None

    def _idle(self, draw: Claim | Draw) -> None:
        # Only a worker that waits watches the others: while there are new trials, or the search is paused,
        # the lost ones are not needed. And no more often than they send heartbeats: there may be a thousand.
        if draw is not Draw.PAUSED and time.monotonic() >= self._next_look:
            self._observer.look(self._ledger.watched_workers(self._options.max_attempts))
            self._next_look = time.monotonic() + self._options.heartbeat_s
        # While the search is paused, all of them are idle.
        longest_s = self._options.heartbeat_s if draw is Draw.PAUSED else MAX_IDLE_S
        self._idle_s = min(2 * self._idle_s or 0.1, self._options.heartbeat_s, longest_s)
        self._interruption.wait(self._idle_s)

    def _record_and_draw(self, ending: Ending) -> Claim | Draw:
        try:
            # On slow storage this may take longer than a lease: the trial is still held.
            with self.heart.beating(self._options.heartbeat_s), self._ending(ending):
                return self._draw(after=ending)
        except ClaimLost as lost:
            log.warning("%s The attempt's result was discarded.", lost)
            return self._draw()

    @contextmanager
    def _ending(self, ending: Ending) -> Iterator[None]:
        """Keep the end of an attempt whatever happens while it is recorded."""
        if ending.outcome == "finished":
            self._failing_row.clear()
        elif ending.outcome != "released":
            self._failing_row.append(ending.number)
        try:
            yield
        except ClaimLost:
            raise
        except LedgerUnavailableError:
            self._keep_beside(ending)
            raise
        except BaseException:
            with suppress(LedgerError):  # interrupted, but it has ended
                self._ledger.end_if_held(ending)
            raise

    def _folder_of(self, ending: Ending) -> Path:
        """Return the folder for an unrecorded end of a script, which has no folder for each of its trials."""
        folder = Path(self._run_folder or os.getcwd(), f"{ending.number}-{ending.token[:8]}")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _keep_beside(self, ending: Ending) -> None:
        """Keep what the ledger could not take beside the trial's own output."""
        try:
            folder = ending.output_dir or self._folder_of(ending)
            kept = unrecorded.write(folder, ending, self._ledger.folder)
        except OSError as error:
            log.error("#%d could not be recorded anywhere (%s): %s", ending.number, error, ending)
            return
        command = pasted(["dahps", "recover", str(self._ledger.folder), str(kept)])
        log.error("#%d could not be recorded. When the storage is back: %s", ending.number, command)
