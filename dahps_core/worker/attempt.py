"""One attempt of a trial: made ready, evaluated, watched over, and ended."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from dahps_core.ledger import Ledger
from dahps_core.model.combination import Value
from dahps_core.model.records import Claim, Ending
from dahps_core.process.shutdown import Interruption, Terminated
from dahps_core.process.trial_process import Answer, Child, answer_of, reason
from dahps_core.ranks import Leader, RankedChild
from dahps_core.space.overrides import shown_overrides
from dahps_core.trial.current import Trial, evaluating
from dahps_core.trial.history import History
from dahps_core.trial.host import Host
from dahps_core.trial.metric import read_result
from dahps_core.worker.options import WorkerOptions
from dahps_core.worker.session import Claims

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A trial made ready.

    Attributes:
        evaluate: Runs the user's function and returns what it returned.
        output_dir: The folder for what the trial writes.
        read: Makes of what was returned, and the objective's name, what the ledger keeps, and the objective.
        program: Describes it, as JSON's values, for a program that the trial starts.
    """

    evaluate: Callable[[], Any]
    output_dir: str
    read: Callable[[Any, str | None], tuple[Value, float | None]] = read_result
    program: Callable[[], Any] = lambda: None


class Evaluation:
    """Evaluates what a worker has claimed, in a process of its own or in this one.

    Args:
        ledger: Queried for whether the claim still holds, when something has changed.
        claims: Whose heart beats meanwhile.
        prepare: Makes a trial ready; what it raises is the trial's failure.
        options: The worker's.
        interruption: Ends the attempt; the trial is notified, and has its grace period.
        leader: Starts it on all ranks of the job.
        log: The files that the worker's job logs to, for the record of an attempt that was killed.
    """

    def __init__(
        self,
        ledger: Ledger,
        claims: Claims,
        prepare: Callable[[Trial], Job],
        options: WorkerOptions,
        interruption: Interruption,
        leader: Leader,
        log: str | None,
    ) -> None:
        self._ledger = ledger
        self._claims = claims
        self._prepare = prepare
        self._options = options
        self._interruption = interruption
        self._leader = leader
        self._log = log

    def of(self, claim: Claim) -> Ending:
        """Evaluate the claimed trial; return how that ended."""
        with suppress(Exception):  # a trial may have closed what this one's handlers write to
            log.info("#%d : %s%s", claim.number, shown_overrides(claim.combination), _again(claim))
        trial, history = self._claims.begun(claim)
        with Host(trial, history) as host, evaluating(trial):
            ending = self._evaluated(claim, trial, history, host)
        if ending.outcome == "finished":
            self._claims.warn_if_unread(trial)
        return replace(ending, reports=history.rest)

    def _evaluated(self, claim: Claim, trial: Trial, history: History, host: Host) -> Ending:
        output_dir = None
        try:
            job = self._prepare(trial)
        except (KeyboardInterrupt, Terminated):
            raise
        except BaseException as error:  # SystemExit as well: it would end each worker that claims the trial
            answer = Answer("failed", error=reason(error))
        else:
            output_dir, host.program = job.output_dir, job.program
            if self._options.isolate:
                answer = self._isolated(claim, trial, history, job, host)
            else:
                answer = self._in_process(claim, trial, job, host)
        answer = self._in_the_end(answer)
        return Ending(claim.number, claim.attempt, claim.token, output_dir=output_dir, **vars(answer))

    def _in_the_end(self, answer: Answer) -> Answer:
        if self._interruption.reason and answer.outcome != "finished":
            # Whatever it raised on its way out, and whatever a signal to the whole job has broken in it.
            return Answer("released", error=self._interruption.reason)
        if answer.outcome == "died" and self._log:
            return replace(answer, error=f"{answer.error}; log: {', '.join(self._log.splitlines())}")
        return answer

    def _in_process(self, claim: Claim, trial: Trial, job: Job, host: Host) -> Answer:
        look = partial(self._look, claim, trial.preempt)
        beating = self._claims.heart.beating(self._options.heartbeat_s, look)
        with _same_directory(), beating, host.serving():
            try:
                with self._interruption.raising():
                    return answer_of(self._reader(job))
            except Terminated:
                return Answer("released")

    def _isolated(self, claim: Claim, trial: Trial, history: History, job: Job, host: Host) -> Answer:
        with (
            self._leader.start(trial, host.around(self._reader(job)), history) as child,
            # Only now: a process that is forked beside a thread may inherit a lock that no thread releases.
            self._claims.heart.beating(self._options.heartbeat_s, partial(self._look, claim, child.kill)),
        ):
            return self._attended(trial, child, host)

    def _attended(self, trial: Trial, child: Child | RankedChild, host: Host) -> Answer:
        limit_s = self._options.trial_timeout_s
        ends_at = None if limit_s is None else time.monotonic() + limit_s
        while not self._interruption.is_requested():
            left_s = None if ends_at is None else max(ends_at - time.monotonic(), 0)
            if host.attend(child, left_s, [self._interruption]):
                return child.end()
            if left_s == 0:
                error = f"the trial ran for longer than its time limit of {limit_s:g} s, and was killed"
                return Answer("failed", error=error)
        log.warning("%s: the trial has %g s to leave.", self._interruption.reason, self._options.grace_s)
        trial.preempt()
        host.attend(child, self._options.grace_s)
        return child.end()

    def _look(self, claim: Claim, end: Callable[[], None], in_doubt: bool) -> None:
        if self._claims.has_lost(claim, in_doubt):
            # Two processes would write into one checkpoint, and the result of this one is refused.
            log.warning("Trial %d was taken from this worker: it ends here.", claim.number)
            end()

    def _reader(self, job: Job) -> Callable[[], tuple[Value, float | None]]:
        return lambda: job.read(job.evaluate(), self._ledger.search.metric)


@contextmanager
def _same_directory() -> Iterator[None]:
    """Return to the current directory: what one trial changes here is not for the next one."""
    before = os.getcwd()
    try:
        yield
    finally:
        with suppress(OSError):  # the trial removed it
            os.chdir(before)


def _again(claim: Claim) -> str:
    level = "" if claim.resource is None else f", level {claim.level}: {claim.resource}"
    return level + (f" (attempt {claim.attempt})" if claim.attempt > 1 else "")
