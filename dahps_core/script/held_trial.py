"""What a search holds in one process: a trial that it has claimed, or another rank's, or nothing any more."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from dahps_core.environment.batch_job import BatchJob
from dahps_core.environment.launchers import process_group
from dahps_core.errors import ConfigurationError, DahpsError, RanksError, SearchExhausted
from dahps_core.ledger import Ledger
from dahps_core.ledger.folder.run_limits import keep_limits
from dahps_core.model.combination import Combination
from dahps_core.model.records import Claim, Draw
from dahps_core.process.trial_process import Answer
from dahps_core.ranks.rendezvous import Listener
from dahps_core.script.claimed_trial import Following, Holding, Joined
from dahps_core.script.exhaustion import why_exhausted
from dahps_core.script.peers import Peer, Peers
from dahps_core.script.process_end import Process, this_process
from dahps_core.trial.current import Trial, record_of, trial_of
from dahps_core.worker.options import WorkerOptions
from dahps_core.worker.session import Claims

log = logging.getLogger(__name__)

#: In the folder that the script is started in: what cannot be recorded in the ledger.
UNRECORDED_FOLDER = "dahps-unrecorded"

#: Seconds that rank 0 waits for a trial between two words to the others: no process group waits for ever.
ROUND_S = 1.0

#: Whether processes that were started together evaluate one trial, or one each.
Ranks = Literal["together", "independent"]
Broadcast = Callable[[dict[str, Any] | None], dict[str, Any]]


class Hand:
    """The hand of one process, for one search.

    Args:
        ledger: Of the search; None on a rank that records nothing.
        batch: The process's place among those that evaluate a trial together.
        options: How to work.

    Attributes:
        ledger: As given; None as well from when the process learns that it is not rank 0.
        holding: The current trial, or that was last.
        why_none: Why there is none, and will be none; None while there may be one.
    """

    def __init__(self, ledger: Ledger | None, batch: BatchJob, options: WorkerOptions) -> None:
        self.ledger = ledger
        self.holding: Holding | Joined | None = None
        self.why_none: str | None = None
        self._batch = batch
        self._options = options
        self._claims: Claims | None = None
        self._combination: Combination | None = None
        self._is_waiting = False
        self._peers: Peers | None = None  # on rank 0
        self._peer: Peer | None = None  # on the others

    @property
    def combination(self) -> Combination | None:
        """The current or last combination; None if the search is exhausted.

        Raises:
            DahpsError: On a rank that has not received it yet.
        """
        if self._is_waiting:
            self._draw(None)
        self.expect_known()
        return self._combination

    def expect_known(self) -> None:
        """Raise DahpsError on a rank that has not received rank 0's claim yet."""
        if self.ledger is None and self._combination is None and self.why_none is None:
            raise DahpsError(
                f"rank {self._batch.rank} of {self._batch.size} has not received rank 0's claim yet",
                hint="The processes of one torchrun, mpirun or srun evaluate one combination together: call "
                "dahps_core.torch_utils.sync_parameters(rank, agent) on all of them first; or, if each is to "
                'search on its own, pass ranks="independent" to from_config',
            )

    @property
    def size(self) -> int:
        """How many processes evaluate a trial together, as far as known."""
        return self._batch.size

    @property
    def trial(self) -> Trial | None:
        """The current trial; None if it has ended."""
        return self.holding.trial if self.holding and not self.holding.is_over else None

    @property
    def held_trial_of_process(self) -> Trial:
        """The same; raises DahpsError if it has ended, or is not known on this rank yet."""
        trial = self.trial
        if trial is None:
            self.expect_known()
            raise DahpsError(
                "there is no current trial" + (f": {self.why_none}" if self.why_none else ""),
                hint="After a trial has ended, get_new_combination() claims the next one",
            )
        return trial

    @property
    def is_joined(self) -> bool:
        """Whether this process takes part in the trial that it was started in, and claims none."""
        return isinstance(self.holding, Joined) and not isinstance(self.holding, Following)

    def join(self, trial: Trial) -> None:
        """Hold the trial that this process was started in."""
        self._hold(Joined(trial))
        self.why_none = f"this process was started in trial {trial.number}, and cannot evaluate another"

    def draw(self) -> Combination | None:
        """Claim the next combination; waits for one, unless other ranks wait for this one.

        Raises:
            DahpsError: The last trial has neither been finished nor released.
            LedgerUnavailableError: The storage refused.
        """
        process = this_process()
        if process.holding and self.ledger:
            raise DahpsError(
                f"this process still holds trial {process.holding.trial.number}; it evaluates one at a time",
                hint="Call finish_combination or release first",
            )
        self._combination = None
        if self.is_joined:
            return None
        self.why_none = None
        if self.ledger:
            self.holding = None
            self._draw(0.0 if self._batch.size > 1 else None)
        return self._combination

    def share(self, broadcast: Broadcast, rank: int, size: int) -> None:
        """Hold what rank 0 holds.

        Args:
            broadcast: Gives every rank what rank 0 passes, as JSON's values.
            rank: Of this process among those that evaluate a trial together.
            size: How many they are.

        Raises:
            SearchExhausted: On every rank: that is nothing.
        """
        batch = self._batch.among(rank, size)
        if rank == 0 and size > 1:
            self._give(broadcast, batch)
        elif rank > 0:
            self._adopt(broadcast, batch)
        if self.combination is None:
            raise SearchExhausted(self.why_none or "there is no combination")

    def end(self, answer: Answer) -> None:
        """End the current attempt; raises as a `Holding` does, and DahpsError where there is none."""
        trial, process = self.held_trial_of_process, this_process()
        if process.holding is not self.holding:
            raise DahpsError(
                "this process was forked from the process that holds the trial",
                where=f"trial {trial.number}",
                hint="Finish or release it there",
            )
        process.end(answer)

    def _give(self, broadcast: Broadcast, batch: BatchJob) -> None:
        try:
            while self._is_waiting:
                broadcast({"wait": True})
                self._draw(ROUND_S)
            if self.combination is None:
                broadcast({"why_none": self.why_none})
                return
            with ExitStack() as stack:
                listener = None if self._peers else stack.enter_context(Listener(batch))
                broadcast(
                    {"trial": record_of(self.held_trial_of_process), "found": listener and listener.found}
                )
                if listener:
                    self._peers = Peers(batch, listener)
        except BaseException as error:
            # No trial's fault: the others have not begun it.
            why = f"{type(error).__name__}: the ranks of this job did not meet"
            this_process().end_quietly(Answer("released", error=why))
            raise
        assert isinstance(self.holding, Holding)
        self.holding.peers = self._peers

    def _adopt(self, broadcast: Broadcast, batch: BatchJob) -> None:
        process = this_process()
        if self.ledger:  # it was not aware of the others
            process.end(Answer("released", error=f"this process is rank {batch.rank} of a job"))
            process.leave()
        elif self.trial:
            self.end(Answer("finished"))
        self.ledger = self.holding = None
        while (answer := broadcast(None)).get("wait"):
            pass
        self.why_none = answer.get("why_none")
        if self.why_none is not None:
            self._combination = None
            process.leave()
            return
        if found := answer["found"]:
            process.leave()
            self._peer = Peer(batch, found)
            process.work(self._peer, self._options.grace_s)
        if not self._peer:
            raise RanksError(
                f"rank {batch.rank} created a new agent, but rank 0 did not",
                hint="Create an agent on all ranks, or keep using the existing ones",
            )
        self._hold(Following(trial_of(answer["trial"]), self._peer))

    def _draw(self, limit_s: float | None) -> None:
        """Claim a trial for this process, as a worker; wait `wait_s` seconds for one."""
        assert self.ledger
        process = this_process()
        try:
            if self._claims is None or process.worker is not self._claims:
                process.leave()  # as the worker of an earlier search
                self._claims = self._new_claims(self.ledger, process)
                process.work(self._claims, self._options.grace_s)
            draw = self._claims.next(limit_s=limit_s)
        except BaseException as error:
            process.leave(error)
            raise
        self._is_waiting = draw in (Draw.WAIT, Draw.PAUSED)
        if isinstance(draw, Claim):
            self._hold(Holding(self._claims, draw, self._options.heartbeat_s))
        elif not self._is_waiting:
            self.why_none = process.reason or why_exhausted(draw, self.ledger, self._run)
            log.warning("Search exhausted: %s.", self.why_none)
            process.leave()

    def _hold(self, holding: Holding | Joined) -> None:
        self.holding = holding
        self._combination = holding.trial.combination
        this_process().hold(holding)

    def _new_claims(self, ledger: Ledger, process: Process) -> Claims:
        predecessor = ledger.last_worker_of_batch(self._batch.lineage) if self._batch.restarts else None
        self._run = predecessor.run if predecessor else self._batch.array or secrets.token_hex(4)
        keep_limits(ledger.folder, self._run, self._options.limits())
        folder = str(Path.cwd() / UNRECORDED_FOLDER)
        return Claims(ledger, self._run, self._options, process, self._batch, folder, resume=predecessor)


def place(ranks: Ranks) -> BatchJob:
    """Find the place of this process among those that evaluate a trial together.

    Raises:
        ConfigurationError: The environment contradicts itself or `ranks`, or does not say where ranks meet.
    """
    batch = BatchJob.from_environment()
    group = process_group()
    if ranks == "independent":
        if group and group.get_world_size() > 1:
            raise ConfigurationError(
                f"this is one of {group.get_world_size()} ranks of a process group, which train together",
                where='ranks="independent"',
                hint="Leave the option out, or do not call init_process_group()",
            )
        return batch.alone()
    if group:  # it may be made otherwise than the environment says
        return batch.among(group.get_rank(), group.get_world_size())
    batch.require_key()
    return batch
