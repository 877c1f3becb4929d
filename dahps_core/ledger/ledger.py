"""The ledger: who evaluates which trial, and what came of it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dahps_core.combination import Value
from dahps_core.ledger import claiming, opening, reading
from dahps_core.ledger.connection import Database, Parameter, Transaction
from dahps_core.ledger.ending import end_if_held, storable
from dahps_core.ledger.folder import FILE_NAME, Locking, locking_of, make_folder, possible, refuse_mixing
from dahps_core.ledger.search import Search
from dahps_core.trial import Claim, Draw, Ending, TrialRecord, TrialState

PATIENCE_S = 600.0


class Ledger:
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
        search: What it is a ledger of, with the ledger's seed and the space that new trials are drawn from.
    """

    def __init__(self, folder: Path, database: Database, search: Search, bound: claiming.BoundSpace) -> None:
        self.folder = folder
        self.search = search
        self._database = database
        self._bound = bound
        self._waiting: set[str] = set()

    @classmethod
    def join(
        cls,
        folder: Path | str,
        search: Search,
        *,
        on_change: Literal["refuse", "extend"] = "refuse",
        locking: Locking = "fcntl",
        create: bool = True,
        patience_s: float = PATIENCE_S,
    ) -> Ledger:
        """The ledger in a folder, made if there is none; many processes may do so at once.

        Args:
            folder: Made with its parents.
            search: What is to be searched; a seed of None takes the ledger's.
            on_change: "extend" adds a changed space to those that the ledger searches.
            locking: How the users of a ledger keep each other out, for good: "fcntl" by the storage's
                byte-range locks; "folder", for storage whose locks do not hold between hosts, by a folder.
            create: False for a ledger that is known to be there: it is waited for, and never made anew.
            patience_s: How long a call waits while nobody else's write is seen: for locks, and for a storage
                that was there before.

        Raises:
            SearchChangedError: The ledger holds another search.
            NotALedgerError: Something else stands in its place.
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
        bound = opening.join(database, search, create=create, extend=on_change == "extend")
        return cls(folder, database, *bound)

    @classmethod
    def open(cls, folder: Path | str, *, patience_s: float = PATIENCE_S) -> Ledger:
        """The ledger that is in a folder, bound to the space that was added last; as `join` raises."""
        folder = possible(folder)
        database = Database(folder / FILE_NAME, patience_s=patience_s, locking=locking_of(folder) or "fcntl")
        return cls(folder, database, *opening.bind_to_newest(database))

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def checkpoint_dir(self, number: int) -> Path:
        """The folder of a trial's checkpoints, the same for all its attempts; made by who needs it."""
        return self.folder / "checkpoints" / str(number)

    def register(self, run: str, host: str, pid: int, job: str | None, run_folder: str | None = None) -> str:
        """Enter a worker of a multirun.

        Args:
            run: The multirun.
            host: Where the worker runs.
            pid: Its process there.
            job: The batch system's name for it.
            run_folder: Where the multirun's trials write.

        Returns:
            The worker's id.
        """
        worker = secrets.token_hex(8)

        def enter(transaction: Transaction) -> None:
            transaction.change("insert_run", run=run, folder=storable(run_folder))
            transaction.change(
                "insert_worker", worker=worker, run=run, host=host, pid=pid, job=job, now=time.time()
            )

        self._database.write(enter)
        return worker

    def retire(self, worker: str) -> None:
        """The worker asks no more; a trial that it still holds is released.

        It can hold one if it was interrupted after `claim` had written, and before it returned.
        """

        def leave(transaction: Transaction) -> None:
            for trial in transaction.rows("running_of_worker", worker=worker):
                transaction.change("release_trial", **dict(trial), now=time.time(), output_dir=None)
            transaction.change("set_worker_left", worker=worker, now=time.time())

        self._database.write(leave)

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
    ) -> Claim | Draw:
        """The next trial for a worker, or why it gets none.

        Order of service: released trials, new ones, failed or lost ones; each oldest first.

        Args:
            worker: As `register` returned it.
            max_trials: How many trials the ledger may hold in all; None: no limit.
            max_attempts: How often a trial may run; attempts that were released do not count.
            stop_after_failures: The multirun is stopped when so many of its attempts failed and none
                finished; None: never.
            dead: Workers whose heartbeats were seen to have ended: what they hold may be claimed.
            alive: Workers whose heartbeats were seen to change.
            after: How the worker's last attempt ended: recorded in the same transaction, since storage that
                is slow is so for each.

        Raises:
            ClaimLost: That attempt's trial was claimed by another worker; nothing was recorded or claimed.
        """
        token = secrets.token_hex(16)
        asking = claiming.Asking(worker, token, max_trials, max_attempts, stop_after_failures, dead, alive)
        # A waiting worker asks again and again, so it only reads while nothing has changed.
        is_waiting = worker in self._waiting and after is None
        answer: Claim | Draw | None = self._poll(asking) if is_waiting else None
        while answer is None:
            answer, after = self._claim_once(asking, after), None
        (self._waiting.add if answer is Draw.WAIT else self._waiting.discard)(worker)
        return answer

    def _poll(self, asking: claiming.Asking) -> Draw | None:
        return self._database.read(lambda reading: claiming.nothing_to_write(reading, self._bound, asking))

    def _claim_once(self, asking: claiming.Asking, after: Ending | None) -> Claim | Draw | None:
        calls = 0

        def serve(transaction: Transaction) -> Claim | Draw | None:
            nonlocal calls
            calls += 1
            if after is not None:
                end_if_held(transaction, after)
            before = claiming.claimed_before(transaction, asking) if calls > 1 else None
            return before or claiming.claim(transaction, self._bound, asking)

        return self._database.write(serve)

    def finish_if_held(
        self, claim: Claim, *, result: Value, metric: float | None, output_dir: str | None
    ) -> None:
        """The trial has its result, for good.

        Args:
            claim: As `claim` returned it.
            result: All that the training function returned, as JSON's values; NaN and infinities are kept.
            metric: The objective; any float, or None without one.
            output_dir: Where the attempt wrote.

        Raises:
            ClaimLost: The trial was claimed by another worker.
        """
        self.end_if_held(_ending(claim, "finished", output_dir, result=result, metric=metric))

    def fail_if_held(self, claim: Claim, *, error: str, output_dir: str | None) -> None:
        """The attempt raised; as `finish_if_held` raises."""
        self.end_if_held(_ending(claim, "failed", output_dir, error=error))

    def lose_if_held(self, claim: Claim, *, error: str, output_dir: str | None) -> None:
        """The attempt died without an answer, as its own worker saw; as `finish_if_held` raises."""
        self.end_if_held(_ending(claim, "died", output_dir, error=error))

    def release_if_held(self, claim: Claim, *, output_dir: str | None) -> None:
        """The attempt was interrupted, and is not counted; as `finish_if_held` raises."""
        self.end_if_held(_ending(claim, "released", output_dir))

    def end_if_held(self, ending: Ending) -> None:
        """The attempt ended in one of these ways; as `finish_if_held` raises."""
        self._database.write(partial(end_if_held, ending=ending))

    def is_held(self, claim: Claim) -> bool:
        """Whether a write in the claim's name would be accepted now."""
        return bool(self._value("is_held", number=claim.number, token=claim.token))

    def watched_workers(self) -> list[str]:
        """Whose heartbeats an idle worker observes: who holds a running or lost trial, and who waits."""
        return self._database.read(lambda reading: [row["id"] for row in reading.rows("watched_workers")])

    @property
    def n_drawn(self) -> int:
        """How many trials were ever claimed; their numbers are dense from 0."""
        return int(self._value("n_drawn") or 0)

    def remaining(self, max_trials: int | None, max_attempts: int) -> int:
        """How many trials are not over, by the limits that `claim` is given; 0 when the search has ended.

        Of a space that overlaps with another one of the ledger, trials that were drawn from the other
        one are counted until the cursor has passed over them.
        """
        return self._database.read(
            lambda reading: claiming.remaining(reading, self._bound, max_trials, max_attempts)
        )

    def counts(self) -> dict[TrialState, int]:
        """How many trials are in each state, at one moment."""
        return self._database.read(reading.counts)

    def trials(self, first: int = 0) -> Iterator[TrialRecord]:
        """All trials from a number on, with their last attempts; read by pages, so that no writer waits."""
        return reading.trials(self._database, first)

    def best(self) -> TrialRecord | None:
        """The finished trial with the best metric; NaN and None never win, ties go to the lower number."""
        return self._database.read(lambda transaction: reading.best(transaction, self.search.direction))

    def workers(self, run: str) -> list[reading.WorkerRecord]:
        """The workers of a multirun, in the order of their coming."""
        return self._database.read(lambda transaction: reading.workers(transaction, run))

    def run_folders(self) -> list[Path]:
        """Where the trials of its multiruns write, as far as that is known."""
        found = self._database.read(lambda transaction: transaction.rows("run_folders"))
        return [Path(row["folder"]) for row in found]

    def run(self, run: str) -> reading.RunRecord:
        """How a multirun went so far."""
        return self._database.read(lambda transaction: reading.run(transaction, run))

    def _value(self, query: str, **parameters: Parameter) -> Parameter:
        return self._database.read(lambda reading: reading.value(query, **parameters))


def _ending(claim: Claim, outcome: str, output_dir: str | None, **told: Any) -> Ending:
    return Ending(claim.number, claim.attempt, claim.token, outcome, output_dir=output_dir, **told)
