"""What a process does on a faulty storage: `python ledger_work.py FOLDER LOCKING ACTION [ARGUMENT]`.

Prints a line for each thing that was acknowledged.
"""

import logging
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "ledger"))

from ledger_support import claimed, finish, grid, register

from dahps_core.ledger import FILE_NAME, Ledger
from dahps_core.ledger.folder.heartbeat import Heart
from dahps_core.ledger.sqlite import lock_folder, write_queue
from dahps_core.ledger.sqlite.database import Database
from dahps_core.worker.worker import Job, Worker, WorkerOptions

SEARCH = grid(*range(40))
PATIENCE_S = 60.0
logging.basicConfig(format="%(message)s", stream=sys.stderr)


def say(*words):
    print(*words, flush=True)


def joined(folder, locking, patience_s=PATIENCE_S):
    return Ledger.join(folder, SEARCH, locking=locking, create=False, patience_s=patience_s)


def one_trial(folder, locking, worker=None):
    """Claim a trial and finish it; a lock that does not move is soon taken over."""
    lock_folder.STALE_S = 0.1
    ledger = joined(folder, locking)
    claim = claimed(ledger, worker or register(ledger))
    finish(ledger, claim, metric=99.0)
    say(claim.number)


def count_up(folder, locking):
    """Add one to a number in the ledger; wait for the lock, but not for a storage that refuses."""
    Database(Path(folder) / FILE_NAME, patience_s=PATIENCE_S, locking=locking).write(one_more)
    say("counted")


def one_more(transaction):
    transaction.change("count_enqueued", space=1, n=1, n_between=0)


def read_the_count(folder, locking):
    """Read that number in the same way."""
    database = Database(Path(folder) / FILE_NAME, patience_s=PATIENCE_S, locking=locking)
    say(database.read(the_count))


def the_count(transaction):
    assert [tuple(row) for row in transaction.execute("PRAGMA integrity_check")] == [("ok",)]
    return transaction.execute("SELECT n_enqueued FROM space").fetchone()[0]


def in_forks(folder, locking, action):
    """The action on each folder that is told, in a forked process; tells when that stops, and how it ends."""
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            globals()[action](line.rstrip("\n"), locking)
            os._exit(0)
        while os.WIFSTOPPED(status := os.waitpid(pid, os.WUNTRACED)[1]):
            say("stopped", pid)
        say("ended", os.waitstatus_to_exitcode(status))


def some_trials(folder, locking, how_many):
    """Enter, and finish so many trials; impatient, so that only the others' progress keeps it waiting."""
    ledger = joined(folder, locking, patience_s=5.0)
    worker = register(ledger)
    Heart(ledger.folder, worker).beat()
    for _ in range(int(how_many)):
        claim = claimed(ledger, worker)
        finish(ledger, claim, metric=float(os.getpid()))
        say(claim.number)


def some_trials_at_once(folder, locking, how_many):
    """The same without waiting for a storage that refuses."""
    ledger = joined(folder, locking, patience_s=0.0)
    worker = register(ledger)
    for _ in range(int(how_many)):
        finish(ledger, claimed(ledger, worker))


def work(folder, locking, patience_s):
    """A worker whose trial #1 ends only when there is a file `go on` beside the ledger."""
    write_queue.PATIENCE_S = 1.0  # a queue that does not move is soon left

    def evaluate(trial):
        say("started", trial.number)
        while trial.number == 1 and not (Path(folder).parent / "go on").exists():
            os.sched_yield()
        return float(trial.number)

    def prepare(trial):
        return Job(lambda: evaluate(trial), output_dir=str(Path(folder).parent))

    options = WorkerOptions(3, 2, None, heartbeat_s=0.2, lease_s=2.0, isolate=True)
    Worker(joined(folder, locking, float(patience_s)), "run", prepare, options).work()


if __name__ == "__main__":
    folder, locking, action, *arguments = sys.argv[1:]
    globals()[action](folder, locking, *arguments)
