"""One attempt on all ranks: rank 0's child, and by it those of the others."""

from __future__ import annotations

import logging
import random
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from dahps_core.environment.batch_job import BatchJob
from dahps_core.errors import RanksError
from dahps_core.model.combination import Value
from dahps_core.process.answers import checked_answer
from dahps_core.process.trial_process import Answer, Child
from dahps_core.ranks.blame import blamed
from dahps_core.ranks.channel import Message, readable
from dahps_core.ranks.rank_environment import in_place
from dahps_core.ranks.rendezvous import Member
from dahps_core.trial.current import Trial, record_of
from dahps_core.trial.history import History

log = logging.getLogger(__name__)

#: Seconds in which the other ranks must end when rank 0 has returned its result.
LAG_S = 10.0
#: Seconds to wait for the other ranks' errors when rank 0 has failed, perhaps because of them.
BLAME_S = 5.0
#: Seconds in which a follower must have killed its child.
KILL_S = 30.0
#: Below those that the kernel lends to outgoing connections, lest one takes a port before its listener.
_PORTS = range(20_000, 32_000)


class RankedChild:
    """A `Child` that represents the children of all ranks: if one of them fails, the attempt ends for all.

    Args:
        function: As for a `Child`; its result is the attempt's.
        history: The same; of rank 0 alone.
        trial: When it is preempted, it is so on all ranks.
        batch: The job, as rank 0 sees it.
        members: The followers.
        lost: Takes those that are found to be gone.
    """

    def __init__(
        self,
        function: Callable[[], tuple[Value, float | None]],
        history: History | None,
        trial: Trial,
        batch: BatchJob,
        members: Sequence[Member],
        lost: list[Member],
    ) -> None:
        self._trial = trial
        self._batch = batch
        self._lost = lost
        self._busy = [member for member in members if member not in lost]
        self._failures: list[tuple[str, Answer]] = []
        self._has_reported_preemption = False
        self._is_killed = False
        port = _free_port()
        self._send({"do": "start", "trial": record_of(trial), "port": port})
        channels = [member.channel for member in members]
        # The address of this host as the last rank reaches it, which is most likely on another host.
        self._child = Child(in_place(function, batch, channels[-1].here, port, channels), history)

    def __enter__(self) -> RankedChild:
        return self

    def __exit__(self, *exception: object) -> None:
        self._child.__exit__(*exception)
        self._end_others()

    def wait(self, timeout_s: float | None = None, others: Sequence[Any] = ()) -> bool:
        """Wait as a `Child` does; the attempt has ended as soon as one rank has failed."""
        if self._trial.preempted and not self._has_reported_preemption:
            self._has_reported_preemption = True
            self._send({"do": "preempt"})
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._is_to_end():
            left_s = None if deadline is None else max(deadline - time.monotonic(), 0)
            channels = [member.channel for member in self._busy]
            if self._child.wait(left_s, [*others, *channels]):
                return True
            if not self._receive(0):
                return False
        return True

    def end(self) -> Answer:
        """Return how the attempt ended; kill it now, on all ranks, if it has not.

        It has finished when no rank has failed; the result is rank 0's.
        """
        has_ended = self._child.wait(0)
        answer = self._child.end()
        if has_ended and answer.outcome != "finished":
            self._failures.append((f"rank 0 (host {self._batch.host})", answer))
        if has_ended and not self._is_killed:
            self._receive_all(LAG_S if answer.outcome == "finished" else BLAME_S)
        answer = self._judged(answer)
        if answer.outcome == "finished" and self._busy:
            names = ", ".join(map(str, self._busy))
            log.warning("%s did not end within %g s after rank 0, and was killed.", names, LAG_S)
        self._end_others()
        return answer

    def kill(self) -> None:
        """End the attempt, from any thread; `wait` returns."""
        self._is_killed = True
        self._child.kill()

    def _is_to_end(self) -> bool:
        # Ranks that leave on request must not cut off rank 0, which saves the checkpoint.
        return not self._trial.preempted and bool(self._failures or self._lost)

    def _judged(self, answer: Answer) -> Answer:
        gone = [(str(member), Answer("died", error="its process is gone")) for member in self._lost]
        failures = self._failures + gone
        if not failures or self._trial.preempted:
            return answer
        return blamed(failures)

    def _end_others(self) -> None:
        self._send({"do": "kill"})
        self._receive_all(KILL_S)
        self._lost += self._busy
        self._busy = []

    def _receive_all(self, limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while self._busy and self._receive(max(deadline - time.monotonic(), 0)):
            pass

    def _receive(self, timeout_s: float) -> bool:
        """Receive the ends of ranks; return whether there was one."""
        ready = readable([member.channel for member in self._busy], timeout_s)
        for member in [member for member in self._busy if member.channel in ready]:
            self._busy.remove(member)
            try:
                answer = checked_answer(member.channel.receive())
            except (ConnectionError, ValueError):
                self._lost.append(member)
            else:
                if answer.outcome != "finished":
                    self._failures.append((str(member), answer))
        return bool(ready)

    def _send(self, message: Message) -> None:
        for member in list(self._busy):
            if not member.channel.sent(message):
                self._busy.remove(member)
                self._lost.append(member)


def _free_port() -> int:
    why = None
    for port in random.sample(_PORTS, 1000):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError as error:
                why = error
            else:
                return port
    raise RanksError(
        f"1000 of the ports from {_PORTS[0]} to {_PORTS[-1]} were tried, and none is usable: {why}",
        hint="Check what listens on this host (ss --listening --tcp)",
    )
