"""The search of a training script: one combination after the other, in the script's own process."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from dahps_core.environment.batch_job import BatchJob
from dahps_core.environment.launchers import process_group
from dahps_core.errors import DahpsError, SearchExhausted
from dahps_core.ledger import Ledger
from dahps_core.model.combination import Combination
from dahps_core.process.trial_process import Answer
from dahps_core.script.held_trial import Hand
from dahps_core.script.namespace import to_namespace
from dahps_core.script.process_end import this_process
from dahps_core.trial.current import Trial
from dahps_core.trial.metric import read_result
from dahps_core.worker.options import WorkerOptions


class ScriptSearch:
    """A search of which the process that makes it is a worker; it claims a combination at once.

    Where several processes were started together, by torchrun or as the tasks of a step of SLURM, they are
    the ranks of one trial: rank 0 claims and records, the others hold the same combination after
    `dahps_core.torch_utils.sync_parameters`, and what records does nothing there.

    A script that its own trial starts again, as Lightning's launcher does for further ranks, holds the same
    trial, and nothing else: its loop ends after that, and it records nothing.

    If the script raises, the attempt has failed. If it has to end (SIGTERM, SIGHUP, `dahps stop --now`),
    `current.preempted` turns true, and it has `grace` seconds to finish or to leave; then the trial is given
    back, and the process ends. If it is killed, the trial is claimed again after the lease.
    """

    def __init__(
        self, ledger: Ledger | None, batch: BatchJob, options: WorkerOptions, joined: Trial | None = None
    ) -> None:
        self._args: Namespace | None = None
        self._hand = Hand(ledger, batch, options)
        if joined:
            self._hand.join(joined)
        else:
            self.get_new_combination()

    @property
    def combination(self) -> Combination | None:
        """The current or last combination; None if the search is exhausted.

        Where there is none yet, and one may come back, rank 0 waits here.

        Raises:
            DahpsError: On a rank that has not received it yet.
        """
        return self._hand.combination

    @property
    def current(self) -> Trial | None:
        """The current trial; None if it has ended."""
        return self._hand.trial

    def to_namespace(self, combination: Combination | None, args: Namespace | None = None) -> Namespace:
        """Return a combination as a namespace: an attribute for each key, under the key's own name, dots and
        all.

        Args:
            combination: Such as `agent.combination`.
            args: The script's own arguments, which the namespace has as well, unless the combination sets
                them; they are not changed. None: those that the search was made from, if it was.

        Raises:
            SearchExhausted: The combination is None.
        """
        if combination is None:
            self._hand.expect_known()
            raise SearchExhausted(self._hand.why_none or "there is no combination")
        return to_namespace(combination, self._args if args is None else args)

    def save_checkpoint(self, states: Any) -> None:
        """Save a checkpoint of the current trial; see `Trial.save_checkpoint`."""
        if self._hand.ledger:
            self._hand.held_trial_of_process.save_checkpoint(states)

    def load_checkpoint(self, *, map_location: Any = None, weights_only: bool = True) -> Any | None:
        """Load the current trial's checkpoint; see `Trial.load_checkpoint`."""
        return self._hand.held_trial_of_process.load_checkpoint(
            map_location=map_location, weights_only=weights_only
        )

    def report(self, metric: float, step: int) -> None:
        """Report a metric of the current trial; see `Trial.report`."""
        if self._hand.ledger:
            self._hand.held_trial_of_process.report(metric, step)

    def finish_combination(self, metric: Any) -> None:
        """Record the final result of the current trial; draws nothing.

        Args:
            metric: Any number, NaN and infinities too; a tensor or an array of one element; or a mapping of
                names to these, if the search has the name of the objective. On ranks other than 0
                anything, None too: it is not recorded.

        Raises:
            MetricError: It is none of these; the trial is still held.
            ClaimLost: The trial was claimed by another process, or cancelled.
            LedgerUnavailableError: The storage refused; the result is kept in a file, which the log names.
        """
        if self._hand.ledger:
            result, objective = read_result(metric, self._hand.ledger.search.metric)
            self._hand.end(Answer("finished", result, objective))
        elif self.current:
            self._hand.end(Answer("finished"))

    def release(self) -> None:
        """Release the current trial, uncounted: it is the next to be claimed.

        Raises:
            ClaimLost: The trial was claimed by another process, or cancelled.
            LedgerUnavailableError: The storage refused.
        """
        if self._hand.ledger:
            self._hand.end(Answer("released", error="the script released it"))

    def get_new_combination(self) -> Combination | None:
        """Claim the next combination; None if the search is exhausted. Waits while one may come back.

        Where several ranks train together, `sync_parameters` waits, and sends all of them the outcome.

        Raises:
            DahpsError: The last trial has neither been finished nor released.
            LedgerUnavailableError: The storage refused.
        """
        return self._hand.draw()

    @contextmanager
    def trial(self) -> Iterator[Trial]:
        """Yield the current trial, or the next one, for the length of a block, which ends it.

        It has finished with what `finish_combination` was given in the block, or else with the last reported
        metric; without either it has failed. An exception is the attempt's failure, and is raised on;
        SystemExit, KeyboardInterrupt, and any exception once the trial is preempted give it back.

        Raises:
            SearchExhausted: There is none.
            MetricError: The block has ended without a metric.
        """
        trial = self._held_or_next()
        if trial is None:
            raise SearchExhausted(self._hand.why_none or "there is no combination")
        process = this_process()
        try:
            yield trial
            if self.current and self._hand.holding:
                metric = self._hand.holding.last_metric
                if self._hand.ledger and metric is None and trial.preempted:
                    self.release()
                else:
                    self.finish_combination(metric)
        except BaseException as error:
            if self.current:
                process.end_quietly(process.judged(error))
            raise

    def __iter__(self) -> Iterator[Trial]:
        """Yield one trial after the other, until the search is exhausted; each must be finished or
        released.
        """
        while (trial := self._held_or_next()) is not None:
            yield trial
            if self._hand.ledger and self.current:
                raise DahpsError(
                    "the loop continues, but the trial was neither finished nor released",
                    where=f"trial {trial.number}",
                    hint="Call finish_combination(metric) in the loop",
                )

    def _held_or_next(self) -> Trial | None:
        if self._hand.is_joined:
            return self.current
        if self._hand.ledger and self.current is None and self._hand.why_none is None:
            self.get_new_combination()
        with suppress(SearchExhausted):
            self._sync()
        return None if self.combination is None else self._hand.held_trial_of_process

    def _sync(self) -> None:
        """Share the combination where the script trains by several processes of torch.distributed."""
        if group := process_group():
            from dahps_core.torch_utils import sync_parameters

            sync_parameters(group.get_rank(), self)
