"""What the guests' processes do with a ledger: `guest_work.py ACTION FOLDER`.

Each line of output is a JSON event. SIGTERM means: finish what you have begun, and end. SIGUSR1 means: go on.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from dahps_core.errors import ClaimLost, DahpsError
from dahps_core.ledger import FILE_NAME, Ledger, Locking, Search
from dahps_core.ledger.folder.heartbeat import Heart
from dahps_core.model.records import Claim, Draw, Ending
from dahps_core.space import SearchSpace
from dahps_core.trial.current import Trial
from dahps_core.worker.worker import Job, Worker, WorkerOptions

#: More trials than a test gets through, in two small levels.
LEVELS = {
    "key": "x",
    "values": [*range(200)],
    "default": {"key": "y", "values": [*range(200)], "default": None},
}
MANY = Search(SearchSpace.from_config({"root": LEVELS}), strategy="grid")
#: A table that is no part of a ledger, of many pages.
BYSTANDER = """
CREATE TABLE bystander AS WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 200)
SELECT 0 AS changes, zeroblob(1000) FROM n
"""
#: Less than the server's lease, so that a test sees who is late on his own account.
HEARTBEAT_S, LEASE_S = 0.5, 5.0


def tell(**event: Any) -> None:
    """Write an event, in one piece."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class TellingLedger(Ledger):
    """Tells of each finish that was acknowledged."""

    def end_if_held(self, ending: Ending) -> None:
        """As `Ledger` has it."""
        super().end_if_held(ending)
        _tell_finish(ending)

    def claim(self, worker: str, *, after: Ending | None = None, **asked: Any) -> Claim | Draw:
        """As `Ledger` has it."""
        draw = super().claim(worker, after=after, **asked)
        if after is not None:
            _tell_finish(after)
        return draw


def _tell_finish(ending: Ending) -> None:
    if ending.outcome == "finished":
        tell(finished=ending.number, token=ending.result)


def join(folder: Path, locking: Locking = "fcntl") -> tuple[TellingLedger, str]:
    """The ledger, made if need be, and a new worker of it."""
    ledger = TellingLedger.join(folder, MANY, locking=locking)
    worker = ledger.register(run="run", host=socket.gethostname(), pid=os.getpid(), job=None)
    return ledger, worker


def ask(ledger: Ledger, worker: str, max_trials: int | None = None) -> Claim | Draw:
    """A trial for a worker that knows nothing of the others."""
    return ledger.claim(worker, max_trials=max_trials, max_attempts=3, stop_after_failures=None)


def finish(ledger: Ledger, claim: Claim) -> None:
    """Record what only the holder of this claim can know."""
    ledger.finish_if_held(claim, result=claim.token, metric=float(claim.number), output_dir=None)


def hurry(folder: Path, locking: Locking = "fcntl") -> None:
    """Claim and finish as fast as it goes, until SIGTERM."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    ledger, worker = join(folder, locking)
    tell(ready=worker)
    while not ended.is_set():
        start = time.monotonic()
        claim = ask(ledger, worker)
        claimed = time.monotonic()
        assert isinstance(claim, Claim), claim
        finish(ledger, claim)
        tell(claim_s=claimed - start, finish_s=time.monotonic() - claimed)


def work(folder: Path, n_trials: str, to_hang: str) -> None:
    """A worker as a multirun starts it; who is told to hang does so in its first trial."""

    def prepare(trial: Trial) -> Job:
        def evaluate() -> float:
            tell(began=trial.number, attempt=trial.attempt)
            if to_hang == "hang":
                threading.Event().wait()
            return float(trial.number)

        return Job(evaluate, output_dir=str(folder))

    options = WorkerOptions(
        max_trials=int(n_trials),
        max_attempts=3,
        stop_after_failures=None,
        heartbeat_s=HEARTBEAT_S,
        lease_s=LEASE_S,
        isolate=True,
    )
    tell(answer=Worker(TellingLedger.join(folder, MANY), "run", prepare, options).work().value)


def hold(folder: Path) -> None:
    """Claim a trial, with a beating heart; on SIGUSR1 finish it, and then another one."""
    ledger, worker = join(folder)
    claim = ask(ledger, worker)
    assert isinstance(claim, Claim), claim
    with Heart(folder, worker).beating(HEARTBEAT_S):
        tell(holds=claim.number)
        signal.sigwait({signal.SIGUSR1})
        try:
            finish(ledger, claim)
        except ClaimLost as error:
            tell(refused=claim.number, error=str(error))
        finally:
            another = ask(ledger, worker)
            assert isinstance(another, Claim), another
            finish(ledger, another)


def overwrite(folder: Path) -> None:
    """Be inside a transaction that has written to the file already; on SIGUSR1 go on with it, and commit."""
    with closing(sqlite3.connect(folder / FILE_NAME, isolation_level=None, timeout=120)) as connection:
        connection.execute("PRAGMA journal_mode = PERSIST")  # as a ledger has it
        # Without a cache SQLite writes to the file before COMMIT, and its journal is needed to repair it.
        connection.execute("PRAGMA cache_size = 1")
        connection.execute(BYSTANDER)
        connection.execute("BEGIN IMMEDIATE")
        _rewrite(connection)
        os.sync()  # a client may send what was written to the server at any moment: now it has
        tell(inside=True)
        signal.sigwait({signal.SIGUSR1})
        try:
            _rewrite(connection)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            tell(refused=str(error))
        else:
            tell(committed=True)


def _rewrite(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE bystander SET changes = changes + 1")
    connection.execute("REINDEX")


def check(folder: Path) -> None:
    """What SQLite and the ledger say of the file."""
    file = folder / FILE_NAME
    if file.is_dir():  # a ledger that is locked by a folder
        [file] = file.glob(f"*/{FILE_NAME}")
    with closing(sqlite3.connect(file, timeout=60)) as connection:
        is_overwritten = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'bystander'")
        changes = (
            connection.execute("SELECT max(changes) FROM bystander") if is_overwritten.fetchone()[0] else None
        )
        tell(
            integrity=[row[0] for row in connection.execute("PRAGMA integrity_check")],
            references=connection.execute("PRAGMA foreign_key_check").fetchall(),
            changes=changes.fetchone()[0] if changes else 0,
        )
    with Ledger.open(folder) as ledger:
        for trial in ledger.trials():
            tell(
                number=trial.number,
                state=trial.state.value,
                attempts=trial.attempts,
                worker=trial.worker,
                token=trial.result,
                metric=trial.metric,
                combination=trial.combination.to_json(),
            )


ACTIONS = {action.__name__: action for action in (hurry, work, hold, overwrite, check)}

if __name__ == "__main__":
    # Blocked from the start, so that one that comes early is waited for and not died of.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    action, folder, *rest = sys.argv[1:]
    try:
        ACTIONS[action](Path(folder), *rest)
    except DahpsError as error:
        tell(error=str(error))
        raise
