"""A worker: it claims, runs and records trials until none is left for it.

All workers are alike. Nothing is handed out to them: each claims a trial at the moment it is ready for
one, so a worker that starts late, or never, holds nothing back.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from dahps_core import unrecorded
from dahps_core.child import Answer, Child, answer_of, reason
from dahps_core.combination import Value
from dahps_core.current import Trial, evaluating
from dahps_core.errors import ClaimLost, ConfigurationError, LedgerError, LedgerUnavailableError
from dahps_core.heartbeat import Heart, Observer
from dahps_core.ledger import Ledger
from dahps_core.metric import read_result
from dahps_core.overrides import shown_overrides
from dahps_core.trial import Claim, Draw, Ending

log = logging.getLogger(__name__)

#: The longest pause in seconds between two questions of a worker that has nothing to do.
MAX_IDLE_S = 5.0

#: The longest that a program can wait, in seconds: poll counts milliseconds in 31 bits.
_LONGEST_S = 24 * 86_400.0

_ENDING = (signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker works.

    Attributes:
        max_trials: How many trials the ledger may hold in all; None for as many as the space has.
        max_attempts: How often a trial may be run that raises, or whose worker dies.
        stop_after_failures: Stop when so many attempts of this run failed before one finished; None: never.
        heartbeat_s: Seconds between two signs of life.
        lease_s: Seconds without a sign of life after which a worker is held for dead.
        isolate: Whether each trial runs in a process of its own.
        trial_timeout_s: After so many seconds a trial is killed, and has failed; None: never.
    """

    max_trials: int | None
    max_attempts: int
    stop_after_failures: int | None
    heartbeat_s: float
    lease_s: float
    isolate: bool
    trial_timeout_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_trials", "max_attempts", "stop_after_failures"):
            value = getattr(self, name)
            if value is not None and not 1 <= value < 2**63:
                raise ConfigurationError(f"{name} is {value}", mend="It must be at least 1, and below 2^63")
        if self.trial_timeout_s is not None and not 0 < self.trial_timeout_s <= _LONGEST_S:
            raise ConfigurationError(f"trial_timeout is {self.trial_timeout_s}", mend="Give seconds, or null")
        if self.trial_timeout_s is not None and not self.isolate:
            raise ConfigurationError(
                "trial_timeout cannot end a trial that runs in the sweeper's own process",
                mend="Use another launcher, such as hydra/launcher=submitit_local, or leave the option out",
            )
        if not 0 < self.heartbeat_s <= self.lease_s / 2 <= _LONGEST_S:
            raise ConfigurationError(
                f"a heartbeat of {self.heartbeat_s} s does not go with a lease of {self.lease_s} s",
                mend="A lease must last two heartbeats at least, or workers are held for dead that are not",
            )


@dataclass(frozen=True)
class Job:
    """A trial made ready.

    Attributes:
        evaluate: Runs the user's function and returns what it returned.
        output_dir: The folder for what the trial writes.
    """

    evaluate: Callable[[], Any]
    output_dir: str


class Terminated(BaseException):
    """A signal told the worker to end: it gives its trial back and leaves."""


class Worker:
    """Claims, runs and records trials.

    Args:
        ledger: Where the trials come from; used by this worker alone.
        run: The multirun that the worker belongs to.
        prepare: Makes a trial ready; what it raises is the trial's failure.
        options: How to work.
        job: The scheduler's name for the job that this process is, for people to read.
        run_folder: Where the multirun's trials write.
    """

    def __init__(
        self,
        ledger: Ledger,
        run: str,
        prepare: Callable[[Trial], Job],
        options: WorkerOptions,
        job: str | None = None,
        run_folder: str | None = None,
    ) -> None:
        self._ledger = ledger
        self._prepare = prepare
        self._options = options
        self._id = ledger.register(
            run=run, host=socket.gethostname(), pid=os.getpid(), job=job, run_folder=run_folder
        )
        self._heart = Heart(ledger.folder, self._id, options.lease_s)
        self._observer = Observer(ledger.folder, options.lease_s)
        self._idle_s = 0.0

    def work(self) -> Draw:
        """Work until there is nothing to do; returns why there is not."""
        with _signals_raise(), self._heart:
            try:
                return self._work()
            except LedgerUnavailableError:
                raise  # it was waited for already; what the worker still holds comes back after its lease
            except BaseException:
                # Interrupted (Ctrl-C, SIGTERM, the launcher's own signal): the trial goes to the next worker.
                self._ledger.retire(self._id)
                raise

    def _work(self) -> Draw:
        draw = self._draw()
        while isinstance(draw, Claim) or draw is Draw.WAIT:
            if isinstance(draw, Claim):
                draw = self._record_and_draw(self._attempt(draw))
            else:
                self._idle()
                draw = self._draw()
        self._ledger.retire(self._id)
        return draw

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
        )
        if draw is not Draw.WAIT:
            self._idle_s = 0.0
        return draw

    def _idle(self) -> None:
        # Only an idle worker watches the others: while there are new trials, nobody needs the lost ones.
        self._observer.look(self._ledger.watched_workers())
        self._idle_s = min(2 * self._idle_s or 0.1, self._options.heartbeat_s, MAX_IDLE_S)
        time.sleep(self._idle_s)

    def _record_and_draw(self, ending: Ending) -> Claim | Draw:
        try:
            # On slow storage this may take longer than a lease: the trial is still held.
            with self._heart.beating(self._options.heartbeat_s):
                draw = self._draw(after=ending)
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
        if ending.outcome == "finished":
            log.info("#%d finished: %s", ending.number, ending.metric)
        else:
            log.error("#%d %s:\n%s", ending.number, ending.outcome, ending.error)
        return draw

    def _attempt(self, claim: Claim) -> Ending:
        log.info("#%d : %s%s", claim.number, shown_overrides(claim.combination), _again(claim))
        trial = Trial(
            number=claim.number,
            attempt=claim.attempt,
            repetition=claim.repetition,
            combination=claim.combination,
            _checkpoint_dir=self._ledger.checkpoint_dir(claim.number),
        )
        with evaluating(trial):
            return self._evaluated(claim, trial)

    def _evaluated(self, claim: Claim, trial: Trial) -> Ending:
        output_dir = None
        try:
            job = self._prepare(trial)
        except Exception as error:
            answer = Answer(error=reason(error))
        else:
            output_dir = job.output_dir
            answer = self._isolated(claim, job) if self._options.isolate else self._in_process(job)
        return Ending(
            claim.number,
            claim.attempt,
            claim.token,
            "finished" if answer.error is None else "died" if answer.is_lost else "failed",
            answer.result,
            answer.metric,
            answer.error,
            output_dir,
        )

    def _in_process(self, job: Job) -> Answer:
        with self._heart.beating(self._options.heartbeat_s):
            return answer_of(self._reader(job))

    def _isolated(self, claim: Claim, job: Job) -> Answer:
        self._ledger.close()  # a connection must not be carried over a fork
        child = Child(self._reader(job))

        def end_if_lost() -> None:
            # Two processes would write into one checkpoint, and the result of this one is refused.
            with suppress(LedgerError):
                if not self._ledger.is_held(claim):
                    log.warning("Trial %d was claimed by another worker: it ends here.", claim.number)
                    child.kill()

        # Only now: a process that is forked beside a thread may inherit a lock that nobody will open.
        with self._heart.beating(self._options.heartbeat_s, end_if_lost):
            return child.wait(self._options.trial_timeout_s)

    def _reader(self, job: Job) -> Callable[[], tuple[Value, float | None]]:
        return lambda: read_result(job.evaluate(), self._ledger.search.metric)

    def _keep_beside(self, ending: Ending) -> None:
        """What the ledger could not take goes beside the trial's own output."""
        try:
            kept = unrecorded.write(ending.output_dir or os.getcwd(), ending, self._ledger.folder)
        except OSError as error:
            log.error("#%d could not be recorded anywhere (%s): %s", ending.number, error, ending)
            return
        command = shlex.join(["dahps", "recover", str(self._ledger.folder), str(kept)])
        log.error("#%d could not be recorded. When the storage is back: %s", ending.number, command)


def _again(claim: Claim) -> str:
    return f" (attempt {claim.attempt})" if claim.attempt > 1 else ""


@contextmanager
def _signals_raise() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return

    def terminate(number: int, frame: object) -> None:
        raise Terminated(number)

    # What `nohup` has made to be ignored stays ignored.
    heard = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, terminate) for number in heard}
    try:
        yield
    except Terminated as terminated:
        raise SystemExit(128 + terminated.args[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
