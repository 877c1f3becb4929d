"""The trial that a script's process holds."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import ExitStack

from dahps_core.model.records import Claim, Ending
from dahps_core.process.trial_process import Answer
from dahps_core.script.peers import Peer, Peers
from dahps_core.trial.current import Trial, evaluating
from dahps_core.trial.host import Host
from dahps_core.worker.session import Claims

log = logging.getLogger(__name__)


def program() -> dict[str, str]:
    """Identify the program of this process: the file that was started."""
    return {"script": os.path.realpath(sys.argv[0])}


class Holding:
    """A claimed trial of this process; its heartbeat runs until it has ended, which it does once.

    Args:
        claims: By which it was claimed.
        claim: Of the trial.
        heartbeat_s: Seconds between two beats.

    Attributes:
        trial: As the script sees it.
        is_over: Whether its attempt has ended.
        peers: The other ranks that evaluate it as well, as soon as they do.
        left_open: What the attempt is if the script ends before it.
    """

    left_open = Answer("failed", error="the script ended before finish_combination")

    def __init__(self, claims: Claims, claim: Claim, heartbeat_s: float) -> None:
        self.trial, self._history = claims.begun(claim)
        self._claims = claims
        self._claim = claim
        self.is_over = False
        self.peers: Peers | None = None
        self._ends = threading.Lock()
        self._work = ExitStack()
        self._work.enter_context(evaluating(self.trial))
        self._host = self._work.enter_context(Host(self.trial, self._history, program))
        self._work.enter_context(self._host.serving())
        self._work.enter_context(claims.heart.beating(heartbeat_s, self._look))

    @property
    def last_metric(self) -> float | None:
        """What the script has reported last."""
        return self._history.last

    def judged(self, own: Answer) -> Answer:
        """Return how the attempt ended, if it has ended for this process; as `Peers.judged`."""
        return self.peers.judged(self.trial, own) if self.peers else own

    def preempt(self) -> None:
        """Make the script leave the trial, on all ranks; not for a signal's handler."""
        self.trial.preempt()
        if self.peers:
            self.peers.preempt(self.trial)

    def end(self, answer: Answer) -> None:
        """Record how the attempt ended, unless it has; from any thread.

        Raises:
            ClaimLost: The trial was claimed by another worker, or cancelled.
            LedgerUnavailableError: The storage refused; the ending is kept in a file beside the script.
        """
        with self._ends:
            if self.is_over:
                return
            self.is_over = True
            try:
                # The heart beats meanwhile: storage may be slow. (At the process's end no thread can start.)
                claim, reports = self._claim, self._history.rest
                ending = Ending(claim.number, claim.attempt, claim.token, **vars(answer), reports=reports)
                self._claims.record(ending)
            finally:
                self._host.is_relaunched &= not self.peers  # else they train the next trial, too
                self._work.close()
        log.info("#%d %s", self._claim.number, answer.outcome)
        if answer.outcome == "finished":
            self._claims.warn_if_unread(self.trial)

    def _look(self, in_doubt: bool) -> None:
        if self._claims.has_lost(self._claim, in_doubt) and not self.is_over:
            log.warning(
                "Trial %d was taken from this script, or cancelled: its result and checkpoints do not count.",
                self._claim.number,
            )
            self.preempt()


class Joined:
    """The trial that this process was started in, which another one holds; with what a `Holding` has.

    Args:
        trial: As the script sees it.
    """

    left_open = Answer("finished")
    last_metric = None

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.is_over = False
        self._work = ExitStack()
        self._work.enter_context(evaluating(trial))

    def judged(self, own: Answer) -> Answer:
        """Return the end, which rank 0 judges."""
        return own

    def preempt(self) -> None:
        """Make the script leave the trial, on this rank."""
        self.trial.preempt()

    def end(self, answer: Answer) -> None:
        """End the attempt in this process."""
        self.is_over = True
        self._work.close()


class Following(Joined):
    """A trial that rank 0 holds, on another rank.

    Args:
        trial: As the script sees it.
        peer: Reports to rank 0 how the attempt ends here.
    """

    def __init__(self, trial: Trial, peer: Peer) -> None:
        super().__init__(trial)
        self._peer = peer
        self._work.enter_context(self._work.enter_context(Host(trial, None, program)).serving())
        peer.follow(trial)

    def end(self, answer: Answer) -> None:
        """End the attempt in this process; report it to rank 0 if it is the end for all."""
        if not self.is_over and answer.outcome != "finished":
            self._peer.report(answer)
        super().end(answer)
