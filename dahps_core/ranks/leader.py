"""Rank 0 as the leader: what it starts, all ranks evaluate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dahps_core.environment.batch_job import BatchJob
from dahps_core.model.combination import Value
from dahps_core.process.trial_process import Child
from dahps_core.ranks.channel import readable
from dahps_core.ranks.ranked_trial_process import RankedChild
from dahps_core.ranks.rendezvous import LIMIT_S, Member, gathered
from dahps_core.trial.current import Trial
from dahps_core.trial.history import History


class Leader:
    """The leader of a job's other ranks, its followers; where there are none, it starts trials here alone.

    Args:
        batch: The job, as rank 0 sees it.
        folder: The ledger's.
        limit_s: For how many seconds to wait for the followers.

    Raises:
        RanksError: Not all of them came.
        LedgerUnavailableError: The storage refuses the file by which they find the leader.
    """

    def __init__(self, batch: BatchJob, folder: Path, limit_s: float = LIMIT_S) -> None:
        self._batch = batch
        self._members = gathered(batch, folder, limit_s) if batch.size > 1 else []
        self._lost: list[Member] = []

    @property
    def lost(self) -> str | None:
        """Which followers are gone, for people: no trial can be run without them.

        Not to be called during an attempt.
        """
        # They send nothing between two attempts: a readable connection is gone.
        ready = readable([member.channel for member in self._members if member not in self._lost], 0)
        self._lost += [member for member in self._members if member.channel in ready]
        return f"{', '.join(map(str, self._lost))} of this job is gone" if self._lost else None

    def start(
        self,
        trial: Trial,
        function: Callable[[], tuple[Value, float | None]],
        history: History | None = None,
    ) -> Child | RankedChild:
        """Start an attempt on all ranks; the result represents all their children.

        Args:
            trial: When it is preempted, it is so on all ranks.
            function: Runs in a child of this process; what it returns is the attempt's result.
            history: As for a `Child`: what this rank reports is the attempt's history.
        """
        if self._batch.size == 1:
            return Child(function, history)
        return RankedChild(function, history, trial, self._batch, self._members, self._lost)

    def end(self, reason: str) -> None:
        """Report to the followers that there are no more trials, and why."""
        for member in self._members:
            member.channel.sent({"do": "end", "reason": reason})
            member.channel.close()
        self._members, self._lost = [], []
