"""A rank that evaluates what its leader starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dahps_core.environment.batch_job import BatchJob
from dahps_core.errors import RanksError
from dahps_core.process.signals import JOB_SIGNALS, handled, ignored
from dahps_core.process.trial_process import Answer, Child, reason
from dahps_core.ranks.channel import Channel, Message, readable
from dahps_core.ranks.rank_environment import in_place
from dahps_core.ranks.rendezvous import LIMIT_S, joined
from dahps_core.trial.current import Trial, evaluating, trial_of
from dahps_core.trial.host import Host

#: Makes a trial ready; returns what evaluates it, and what describes it as a `Job.program` does.
Prepare = Callable[[Trial], tuple[Callable[[], Any], Callable[[], Any]]]


def follow(batch: BatchJob, folder: Path, prepare: Prepare, limit_s: float = LIMIT_S) -> str:
    """Evaluate each trial that the leader starts, in a child, until the leader reports that there are no
    more.

    Args:
        batch: The job, as this rank sees it.
        folder: The ledger's.
        prepare: Makes a trial ready; what it raises is the attempt's failure.
        limit_s: For how many seconds to look for the leader.

    Returns:
        Why there are no more trials.

    Raises:
        RanksError: The leader was not found, or is gone.
    """
    channel = joined(batch, folder, limit_s)
    try:
        # A scheduler signals all processes of a job: what follows is for the leader to say, in good order.
        with handled(JOB_SIGNALS, ignored):
            return _Follower(batch, channel, prepare).follow()
    except ConnectionError as error:
        raise RanksError(
            f"rank 0 of this job is gone: {error}",
            hint="Its log, or the scheduler's record of the job, says why",
        ) from error
    finally:
        channel.close()


class _Follower:
    def __init__(self, batch: BatchJob, channel: Channel, prepare: Prepare) -> None:
        self._batch = batch
        self._channel = channel
        self._prepare = prepare

    def follow(self) -> str:
        while (order := self._order())["do"] != "end":
            # A message about an attempt that has ended here already comes too late.
            if order["do"] == "start":
                answer = self._attempt(trial_of(order["trial"]), order["port"])
                self._channel.send({"outcome": answer.outcome, "error": answer.error})
        return str(order["reason"])

    def _order(self) -> Message:
        readable([self._channel], None)  # for hours, where the leader waits for a trial
        return self._channel.receive()

    def _attempt(self, trial: Trial, port: int) -> Answer:
        with evaluating(trial):
            try:
                evaluate, program = self._prepare(trial)
            except Exception as error:
                return Answer("failed", error=reason(error))
            with Host(trial, None, program) as host:
                return self._evaluated(trial, evaluate, port, host)

    def _evaluated(self, trial: Trial, evaluate: Callable[[], Any], port: int, host: Host) -> Answer:
        def without_result() -> tuple[None, None]:
            evaluate()
            return None, None

        around = host.around(without_result)
        placed = in_place(around, self._batch, self._channel.there, port, [self._channel])
        with Child(placed) as child:
            while not host.attend(child, None, [self._channel]):
                order = self._channel.receive()
                if order["do"] == "preempt":
                    trial.preempt()
                else:
                    break
            return child.end()
