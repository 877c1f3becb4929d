"""The ranks of a script report to rank 0 how an attempt ended on them.

When a rank raises or dies, torchrun and `srun` end the others by SIGTERM, as they do when the whole job is
preempted. Rank 0, which records, must distinguish the two: a trial that kills rank 1 each time would be
released each time, and run for ever. So each rank has a connection to rank 0, on which it reports why it
fails; a connection that ends without a report is a death.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from contextlib import suppress

from dahps_core.environment.batch_job import BatchJob
from dahps_core.errors import RanksError
from dahps_core.process.trial_process import Answer
from dahps_core.ranks.blame import blamed
from dahps_core.ranks.channel import Channel, Message, readable
from dahps_core.ranks.rendezvous import Listener, Member, reached
from dahps_core.trial.current import Trial

#: Seconds in which the ranks, which have just met, must all be connected.
LIMIT_S = 60.0
#: Seconds to wait for another rank's word when rank 0 has failed, perhaps because of it.
BLAME_S = 5.0
#: Length limit of an error sent to rank 0, in characters: its end is kept. It must not have to be read to be
#: sent.
_LONGEST_ERROR = 30_000

_open: weakref.WeakSet[Channel] = weakref.WeakSet()


class Peers:
    """The other ranks, as rank 0 sees them; for any thread, but not for a signal's handler.

    Args:
        batch: The job, as rank 0 sees it.
        listener: At which the others come in, now.

    Raises:
        RanksError: Not all of them came.
    """

    def __init__(self, batch: BatchJob, listener: Listener) -> None:
        self._host = batch.host
        self._listened_to = listener.members(f"sync_parameters on {batch.host}", LIMIT_S)
        self._gone: list[Member] = []
        self._said: dict[Member, Message] = {}
        self._hearing = threading.Lock()
        _open.update(member.channel for member in self._listened_to)

    def judged(self, trial: Trial, own: Answer) -> Answer:
        """Return how an attempt ended for the other ranks, once it has ended for rank 0.

        Args:
            trial: The attempt.
            own: "failed", which may be another rank's doing, who is waited for a little; or "released", where
                rank 0 was just requested to end.

        Returns:
            `own`, where no other rank has failed, was killed or requested to end.
        """
        said = self._received(trial, BLAME_S if own.outcome == "failed" else 0.0)
        failures = [(who, answer) for who, answer in said if answer.outcome != "released"]
        if failures:
            mine = [(f"rank 0 (host {self._host})", own)] if own.outcome == "failed" else []
            return blamed(mine + failures)
        return said[0][1] if said else own

    def preempt(self, trial: Trial) -> None:
        """Request the others to leave the trial."""
        with self._hearing:
            for member in self._listened_to:
                member.channel.sent(_about(trial))

    def close(self) -> None:
        """Stop listening."""
        with self._hearing:
            for member in [*self._listened_to, *self._gone]:
                member.channel.close()
            self._listened_to, self._gone = [], []

    def _received(self, trial: Trial, limit_s: float) -> list[tuple[str, Answer]]:
        """Return what other ranks reported of an attempt, as soon as one has."""
        deadline = time.monotonic() + limit_s
        with self._hearing:
            while not (said := self._said_of(trial)) and self._listened_to:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    break
                self._receive(left_s)
        return said

    def _receive(self, timeout_s: float) -> bool:
        channels = readable([member.channel for member in self._listened_to], timeout_s)
        for member in [member for member in self._listened_to if member.channel in channels]:
            self._take_in(member)
        return bool(channels)

    def _take_in(self, member: Member) -> None:
        try:
            message = member.channel.receive()
        except ConnectionError:
            self._listened_to.remove(member)
            self._gone.append(member)
            return
        if "left" in message:
            self._listened_to.remove(member)
            member.channel.close()
        else:
            self._said[member] = message

    def _said_of(self, trial: Trial) -> list[tuple[str, Answer]]:
        # All that has arrived: the first to be read need not be the first to fail.
        while self._receive(0):
            pass
        words = {
            member: Answer(message["outcome"], error=message["error"])
            for member, message in self._said.items()
            if message.items() >= _about(trial).items()
        }
        death = Answer("died", error="its process is gone")
        words = {**dict.fromkeys(self._gone, death), **words}
        return [(str(member), words[member]) for member in sorted(words)]


class Peer:
    """Another rank than 0, with its connection to it; a context manager, which it leaves in good order.

    Args:
        batch: The job, as this rank sees it.
        found: What rank 0's listener reports.

    Raises:
        RanksError: Rank 0 cannot be reached.
    """

    def __init__(self, batch: BatchJob, found: Message) -> None:
        self._channel = _connected(batch, found)
        self._trial: Trial | None = None
        self._preempted: Message | None = None
        self._reporting = threading.Lock()
        _open.add(self._channel)
        threading.Thread(target=self._listen, name="dahps-peer", daemon=True).start()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exception: object) -> None:
        """Report to rank 0 that this process exits in order."""
        with self._reporting:
            self._channel.sent({"left": True})
            self._channel.close()

    def follow(self, trial: Trial) -> None:
        """Evaluate this trial from now on."""
        with self._reporting:
            self._trial = trial
            self._preempt()

    def report(self, answer: Answer) -> None:
        """Report to rank 0, before others do, how the attempt has ended here; the first report counts."""
        with self._reporting:
            trial, self._trial = self._trial, None
            if trial:
                error = answer.error and answer.error[-_LONGEST_ERROR:]
                self._channel.sent({**_about(trial), "outcome": answer.outcome, "error": error})

    def _listen(self) -> None:
        with suppress(OSError, ValueError):  # closed, here or there
            while True:
                readable([self._channel], None)
                preempted = self._channel.receive()
                with self._reporting:
                    self._preempted = preempted
                    self._preempt()

    def _preempt(self) -> None:
        # Rank 0 may report on a trial that has not begun here, or is over.
        if self._trial and self._preempted == _about(self._trial):
            self._trial.preempt()


def _connected(batch: BatchJob, found: Message) -> Channel:
    try:
        return reached(found, batch)
    except OSError as error:
        raise RanksError(
            f"rank {batch.rank} on {batch.host} cannot reach rank 0: {error}",
            hint="A firewall may separate these hosts, though torch.distributed connects them another way",
        ) from error


def _about(trial: Trial) -> Message:
    return {"number": trial.number, "attempt": trial.attempt}


def _close_all() -> None:
    for channel in _open:
        channel.close()


# Held open in a forked process, such as a data loader's, they would hide the death of this one.
os.register_at_fork(after_in_child=_close_all)
