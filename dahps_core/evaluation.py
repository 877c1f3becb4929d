"""One attempt of a trial: made ready, evaluated, watched over, and ended."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from dahps_core.child import Answer, Child, answer_of, reason
from dahps_core.combination import Value
from dahps_core.current import Trial, evaluating
from dahps_core.errors import LedgerError
from dahps_core.heartbeat import Heart
from dahps_core.interruption import Interruption, Terminated
from dahps_core.ledger import Ledger
from dahps_core.metric import read_result
from dahps_core.overrides import shown_overrides
from dahps_core.ranks import Leader, RankedChild
from dahps_core.trial import Claim, Ending
from dahps_core.worker_options import WorkerOptions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A trial made ready.

    Attributes:
        evaluate: Runs the user's function and returns what it returned.
        output_dir: The folder for what the trial writes.
    """

    evaluate: Callable[[], Any]
    output_dir: str


class Evaluation:
    """Evaluates what a worker has claimed, in a process of its own or in this one.

    Args:
        ledger: Asked whether the claim still holds, when something has changed.
        worker: The worker's id.
        prepare: Makes a trial ready; what it raises is the trial's failure.
        options: The worker's.
        heart: Beats meanwhile.
        interruption: Ends the attempt; the trial is told, and has its time to leave.
        leader: Starts it on all ranks of the job.
        log: The files that the worker's job logs to, for the record of an attempt that was killed.
    """

    def __init__(
        self,
        ledger: Ledger,
        worker: str,
        prepare: Callable[[Trial], Job],
        options: WorkerOptions,
        heart: Heart,
        interruption: Interruption,
        leader: Leader,
        log: str | None,
    ) -> None:
        self._ledger = ledger
        self._worker = worker
        self._prepare = prepare
        self._options = options
        self._heart = heart
        self._interruption = interruption
        self._leader = leader
        self._log = log
        self._notice: int | None = None

    def of(self, claim: Claim) -> Ending:
        """Evaluate the trial that was claimed; tells how that ended."""
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
            answer = Answer("failed", error=reason(error))
        else:
            output_dir = job.output_dir
            answer = self._isolated(claim, trial, job) if self._options.isolate else self._in_process(job)
        answer = self._in_the_end(answer)
        return Ending(claim.number, claim.attempt, claim.token, output_dir=output_dir, **vars(answer))

    def _in_the_end(self, answer: Answer) -> Answer:
        if self._interruption.reason and answer.outcome != "finished":
            # Whatever it raised on its way out, and whatever a signal to the whole job has broken in it.
            return Answer("released", error=self._interruption.reason)
        if answer.outcome == "died" and self._log:
            return replace(answer, error=f"{answer.error}; log: {', '.join(self._log.splitlines())}")
        return answer

    def _in_process(self, job: Job) -> Answer:
        with self._heart.beating(self._options.heartbeat_s):
            try:
                with self._interruption.raising():
                    return answer_of(self._reader(job))
            except Terminated:
                return Answer("released")

    def _isolated(self, claim: Claim, trial: Trial, job: Job) -> Answer:
        self._ledger.close()  # a connection must not be carried over a fork
        with (
            self._leader.start(trial, self._reader(job)) as child,
            # Only now: a process that is forked beside a thread may inherit a lock that nobody will open.
            self._heart.beating(self._options.heartbeat_s, partial(self._look, claim, child)),
        ):
            return self._attended(trial, child)

    def _attended(self, trial: Trial, child: Child | RankedChild) -> Answer:
        limit_s = self._options.trial_timeout_s
        if child.wait(limit_s, [self._interruption]):
            return child.end()
        if not self._interruption.reason:
            return Answer(
                "failed",
                error=f"the trial ran for longer than its time limit of {limit_s:g} s, and was killed",
            )
        log.warning("%s: the trial has %g s to leave.", self._interruption.reason, self._options.grace_s)
        trial.preempt()
        child.wait(self._options.grace_s)
        return child.end()

    def _look(self, claim: Claim, child: Child | RankedChild, after_a_gap: bool) -> None:
        """At each beat: has the trial been claimed or cancelled, or its worker been told to end?"""
        with suppress(LedgerError):  # a storage that is gone tells nothing: the next beat asks again
            notice = self._ledger.notice()
            if notice == self._notice and not after_a_gap:
                return
            if not self._ledger.is_held(claim):
                # Two processes would write into one checkpoint, and the result of this one is refused.
                log.warning("Trial %d was taken from this worker: it ends here.", claim.number)
                child.kill()
            elif not self._interruption.reason and self._ledger.is_to_release(self._worker):
                self._interruption.tell("dahps stop --now: its worker was told to end")
            self._notice = notice

    def _reader(self, job: Job) -> Callable[[], tuple[Value, float | None]]:
        return lambda: read_result(job.evaluate(), self._ledger.search.metric)


def _again(claim: Claim) -> str:
    return f" (attempt {claim.attempt})" if claim.attempt > 1 else ""
