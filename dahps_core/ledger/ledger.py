"""The ledger: which worker evaluates which trial, and its result."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dahps_core.ledger import joining
from dahps_core.ledger.claiming import next_trial
from dahps_core.ledger.claiming.bound_space import BoundSpace
from dahps_core.ledger.claiming.claim_request import ClaimRequest
from dahps_core.ledger.claiming.finish import end_if_held, report_if_held, storable
from dahps_core.ledger.claiming.lost_workers import causes_of_loss
from dahps_core.ledger.control import LedgerSteering
from dahps_core.ledger.folder.ledger_folder import (
    FILE_NAME,
    Locking,
    locking_of,
    make_folder,
    possible,
    refuse_mixing,
)
from dahps_core.ledger.sqlite.database import Database, Transaction
from dahps_core.model.combination import Value
from dahps_core.model.records import Claim, Draw, Ending, Report
from dahps_core.strategies.search import Search

PATIENCE_S = 600.0


class Ledger(LedgerSteering):
    """A folder on shared storage that many workers on many hosts draw trials from.

    Promises:
        - Every method that writes is one short transaction: it is done as a whole, or not at all. What it
          returned from survives a crash of any host.
        - No trial has two holders; every write in a claim's name is fenced by its token.
        - A finished trial never changes.
        - Threads may share a ledger. A forked child must join or open its own.
        - A method waits for locks, and for a storage that was there and is gone, while anybody's write is
          seen and `patience_s` longer; then it raises `LedgerUnavailableError`. It may be called again:
          each edge counts once for a claim.

    Attributes:
        folder: The folder that holds `ledger.db`, heartbeats and checkpoints.
        search: What it is a ledger of, with the ledger's seed.
        space: What this object draws new trials from: the search's space, or one branch of it (`only`).
    """

    def __init__(self, folder: Path, database: Database, search: Search, bound: BoundSpace) -> None:
        super().__init__(folder, database, search, bound)
        self._waiting: set[str] = set()

    @classmethod
    def join(
        cls,
        folder: Path | str,
        search: Search,
        *,
        only: Mapping[str, Value] | None = None,
        on_change: Literal["refuse", "extend"] = "refuse",
        locking: Locking = "fcntl",
        create: bool = True,
        patience_s: float = PATIENCE_S,
    ) -> Ledger:
        """Open the ledger in a folder, or create it; many processes may do so at once.

        Args:
            folder: Made with its parents.
            search: What is to be searched; a seed of None takes the ledger's.
            only: Key -> the value, or a list of those, that combinations must have for this ledger object to
                draw and serve their trials; None: all of them.
            on_change: "extend" adds a changed space to those that the ledger searches.
            locking: How the users of a ledger keep each other out, for good: "fcntl" by the storage's
                byte-range locks; "folder", for storage whose locks do not hold between hosts, by a folder.
            create: False for a ledger that is known to exist: it is waited for, and never created again.
            patience_s: How long a call waits without seeing others write: for locks, and for a storage
                that was there before.

        Raises:
            SearchChangedError: The ledger holds another search.
            ConfigurationError: `only` names a key or a value that the space has not.
            NotALedgerError: Something else is in its place.
            LockingChangedError: It was made with the other way of locking.
            LedgerDamagedError: Its file is damaged, or gone from a folder where a search has been.
            LedgerVersionError: It was written by a newer version.
            LedgerUnavailableError: The storage refused.
        """
        folder = possible(folder)
        if create:
            make_folder(folder)
        refuse_mixing(folder, locking)
        database = Database(
            folder / FILE_NAME, patience_s=patience_s, locking=locking, create=create, was_there=not create
        )
        bound = joining.join(database, search, only, create=create, extend=on_change == "extend")
        return cls(folder, database, *bound)

    @classmethod
    def open(cls, folder: Path | str, *, patience_s: float = PATIENCE_S) -> Ledger:
        """Open the existing ledger in a folder, bound to the latest space; raises as `join` does."""
        folder = possible(folder)
        database = Database(folder / FILE_NAME, patience_s=patience_s, locking=locking_of(folder) or "fcntl")
        return cls(folder, database, *joining.bind_to_newest(database))

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def enter_run(self, run: str, folder: str | None) -> None:
        """Enter a multirun before any of its workers has started: queued ones may be stopped as well."""
        self._database.write(lambda writing: writing.change("insert_run", run=run, folder=storable(folder)))

    def register(
        self,
        run: str,
        host: str,
        pid: int,
        job: str | None,
        run_folder: str | None = None,
        log: str | None = None,
        batch: str | None = None,
    ) -> str:
        """Enter a worker of a multirun.

        Args:
            run: The multirun.
            host: Where the worker runs.
            pid: Its process there.
            job: The batch system's name for it.
            run_folder: Where the multirun's trials write.
            log: The files that its job logs to, one a line: what the batch system says there of a worker that
                was killed goes into the records of its trials.
            batch: A name of its batch job that stays when a launcher restarts the job's processes.

        Returns:
            The worker's id.
        """
        worker = secrets.token_hex(8)

        def enter(transaction: Transaction) -> None:
            transaction.change("insert_run", run=run, folder=storable(run_folder))
            transaction.change(
                "insert_worker",
                worker=worker,
                run=run,
                host=host,
                pid=pid,
                job=job,
                batch=batch,
                log=storable(log),
                branch=self._bound.branch,
                now=time.time(),
            )

        self._database.write(enter)
        return worker

    def retire(self, worker: str, reason: str | None = None) -> None:
        """Record that the worker leaves; a trial that it still holds is released, for this reason.

        It can hold one if it was interrupted after `claim` had written, and before it returned.
        """

        def leave(transaction: Transaction) -> None:
            for trial in transaction.rows("running_of_worker", worker=worker):
                transaction.change(
                    "release_trial",
                    **dict(trial),
                    now=time.time(),
                    output_dir=None,
                    error=storable(reason),
                )
            transaction.change("set_worker_left", worker=worker, now=time.time())

        self._database.write(leave)

    def dismiss(self, workers: Collection[str]) -> list[str]:
        """Record that silent workers have left, and return those that run no trial: only these have."""
        now = time.time()
        return self._database.write(
            lambda writing: [
                one for one in workers if writing.change("dismiss_idle_worker", worker=one, now=now)
            ]
        )

    def claim(
        self,
        worker: str,
        *,
        max_trials: int | None,
        max_attempts: int,
        stop_after_failures: int | None,
        dead: Collection[str] = (),
        alive: Collection[str] = (),
        after: Ending | None = None,
        time_left_s: float | None = None,
        trial_time_s: float | None = None,
        failing_since: int | None = None,
        resume: str | None = None,
        max_resource_total: float | None = None,
        is_time_up: bool = False,
    ) -> Claim | Draw:
        """Claim the next trial for a worker, or return why there is none.

        Order of service: released trials, queued, promoted, new, failed or lost ones; each oldest first, but
        for promotions: those from the highest level first, and of these the best.

        Args:
            worker: As `register` returned it.
            max_trials: How many trials the ledger may hold in all; None: no limit.
            max_attempts: How often a trial may run; attempts that were released do not count.
            stop_after_failures: The multirun is stopped when this many of its attempts failed and none
                finished; None: never.
            dead: Workers whose heartbeats were seen to have ended: what they hold may be claimed.
            alive: Workers whose heartbeats were seen to change.
            after: How the worker's last attempt ended: recorded in the same transaction, since storage that
                is slow is so for each.
            time_left_s: Seconds until the worker's job ends: it leaves if no trial can end before; None:
                unknown.
            trial_time_s: Seconds that a trial takes; None: the median of the last finished ones.
            failing_since: The number of the first trial of the worker's unbroken row of failures, if that is
                long: it leaves if the multirun's trials on other hosts have finished since, and waits for the
                first of them to end. None: no such row.
            resume: The worker in whose place this one was started: the trial that it left comes before all
                others. None: there is none.
            max_resource_total: How much all trials may use at all levels: what would be more is neither drawn
                nor promoted; None: no limit.
            is_time_up: Whether the worker's multirun has used its time: it is stopped, as a person would.

        Raises:
            ClaimLost: That attempt's trial was claimed by another worker; nothing was recorded or claimed.
        """
        token = secrets.token_hex(16)
        request = ClaimRequest(
            worker,
            token,
            max_trials,
            max_attempts,
            stop_after_failures,
            dead,
            alive,
            time_left_s,
            trial_time_s,
            failing_since,
            resume,
            max_resource_total=max_resource_total,
            is_time_up=is_time_up,
        )
        # A waiting worker polls, so it only reads while nothing has changed.
        is_waiting = worker in self._waiting and after is None
        answer: Claim | Draw | None = None
        if is_waiting:
            look = partial(next_trial.nothing_to_write, bound=self._bound, request=request)
            answer = self._database.read(look)
        if answer is None:
            request = replace(request, causes_of_loss=causes_of_loss(self._database, dead))
        while answer is None:
            answer, after = self._claim_once(request, after), None
        is_to_wait = answer in (Draw.WAIT, Draw.PAUSED)
        (self._waiting.add if is_to_wait else self._waiting.discard)(worker)
        return answer

    def _claim_once(self, request: ClaimRequest, after: Ending | None) -> Claim | Draw | None:
        calls = 0

        def serve(transaction: Transaction) -> Claim | Draw | None:
            nonlocal calls
            calls += 1
            if after is not None:
                end_if_held(transaction, after, self._bound.rungs)
            before = next_trial.claimed_before(transaction, self._bound, request) if calls > 1 else None
            return before or next_trial.claim(transaction, self._bound, request)

        return self._database.write(serve)

    def record_history(self, claim: Claim, reports: Iterable[Report]) -> None:
        """Record what the attempt has reported so far; of several metrics at one step the last one counts.

        Raises:
            ClaimLost: The trial was claimed by another worker, or cancelled.
        """
        recorded = tuple(reports)
        self._database.write(partial(report_if_held, claim=claim, reports=recorded))

    def finish_if_held(
        self, claim: Claim, *, result: Value, metric: float | None, output_dir: str | None
    ) -> None:
        """Record the trial's final result.

        Args:
            claim: As `claim` returned it.
            result: All that the training function returned, as JSON's values; NaN and infinities are kept.
            metric: The objective; any float, or None without one.
            output_dir: Where the attempt wrote.

        Raises:
            ClaimLost: The trial was claimed by another worker, or cancelled.
        """
        self.end_if_held(_ending(claim, "finished", output_dir, result=result, metric=metric))

    def fail_if_held(self, claim: Claim, *, error: str, output_dir: str | None) -> None:
        """Record that the attempt raised; raises as `finish_if_held` does."""
        self.end_if_held(_ending(claim, "failed", output_dir, error=error))

    def lose_if_held(self, claim: Claim, *, error: str, output_dir: str | None) -> None:
        """Record that the attempt died, as its own worker saw; raises as `finish_if_held` does."""
        self.end_if_held(_ending(claim, "died", output_dir, error=error))

    def release_if_held(self, claim: Claim, *, output_dir: str | None, error: str | None = None) -> None:
        """Record that the attempt was interrupted, which does not count; raises as `finish_if_held` does."""
        self.end_if_held(_ending(claim, "released", output_dir, error=error))

    def end_if_held(self, ending: Ending) -> None:
        """Record the attempt's end, whatever it is; raises as `finish_if_held` does."""
        self._database.write(partial(end_if_held, ending=ending, rungs=self._bound.rungs))


def _ending(claim: Claim, outcome: str, output_dir: str | None, **recorded: Any) -> Ending:
    return Ending(claim.number, claim.attempt, claim.token, outcome, output_dir=output_dir, **recorded)
