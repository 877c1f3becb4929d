"""What the child processes of the ledger's tests run; imported by their fork server."""

import os
import signal
import time

from ledger_support import claimed, finish, register

from dahps_core.ledger import Ledger
from dahps_core.ledger.sqlite import database, write_queue

PATIENCE_S = 60.0


def open_the_gate():
    """Let everybody pass at once, in this process."""
    write_queue.Gate.pass_with = lambda self, work, is_hopeless: work()


def switch_off_locks():
    """Make SQLite take no locks, in this process."""
    connect = database.sqlite3.connect
    database.sqlite3.connect = lambda address, **options: connect(f"{address}&nolock=1", **options)


def race(folder, search, barrier, course, n_trials, duration_s, sabotage, results):
    """Claim and finish as fast as it goes; tells the numbers that were finished, and what went wrong.

    Ends so many trials after all have begun, or so many seconds after the start. `course` is how many have
    not begun, and the number of the last trial.
    """
    numbers, error = [], None
    try:
        with Ledger.join(folder, search, patience_s=PATIENCE_S) as ledger:
            worker = register(ledger, pid=os.getpid())
            for switch_off in sabotage:
                switch_off()
            ledger.close()  # what is switched off shows in the next connection
            barrier.wait(PATIENCE_S)
            end = time.monotonic() + duration_s
            while time.monotonic() < end and numbers[-1:] < [course[1]]:
                claim = claimed(ledger, worker)
                if not numbers:
                    with course.get_lock():
                        course[0] -= 1
                        if not course[0]:
                            course[1] = claim.number + n_trials
                finish(ledger, claim, metric=float(claim.number), result={"worker": worker})
                numbers.append(claim.number)
    except Exception as caught:
        error = repr(caught)
    results.put((numbers, error))


def join(folder, search, barrier, results):
    """Join at the same moment as all others; tells the seed."""
    barrier.wait(PATIENCE_S)
    with Ledger.join(folder, search, patience_s=PATIENCE_S) as ledger:
        results.put(ledger.search.seed)


def stop_inside_a_transaction(folder, search):
    """Claim, and be stopped by a signal before the claim is committed."""
    ledger = Ledger.join(folder, search)
    worker = register(ledger)
    execute = database.Transaction.change

    def stopping(self, query, **parameters):
        if query == "commit":
            os.kill(os.getpid(), signal.SIGSTOP)
        return execute(self, query, **parameters)

    database.Transaction.change = stopping
    claimed(ledger, worker)


def fill_the_disk(folder, search, results):
    """Work with a limit on the size of files, and once more without; tells the error and the counts."""
    import resource

    ledger = Ledger.join(folder, search, patience_s=0.1)
    worker = register(ledger)
    size = os.stat(folder / "ledger.db").st_size
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, resource.RLIM_INFINITY))
    finished = []
    try:
        while True:
            claim = claimed(ledger, worker)
            finish(ledger, claim)
            finished.append(claim.number)
    except Exception as caught:
        error = repr(caught)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    ledger.retire(worker)
    again = claimed(ledger, register(ledger))
    finish(ledger, again)
    kept = [trial.number for trial in ledger.trials() if trial.state.value == "finished"]
    results.put((error, finished, kept))
