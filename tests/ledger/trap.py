"""Ends or stops a process at its n-th step: at both sides of a statement, and before a change of a file."""

import os
import sys
from itertools import count

from dahps_core.ledger.sqlite.database import Transaction

FILE_CHANGES = {
    "os.rename",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.utime",
    "shutil.copyfile",
    "sqlite3.connect",
}


def set_trap(at, signal_number):
    """Let this process send itself a signal at a step, counted from now; returns what counts the steps."""
    steps = count(1)

    def step():
        if next(steps) == at:
            os.kill(os.getpid(), signal_number)

    execute = Transaction.execute

    def trapped(self, sql, parameters=None):
        step()
        cursor = execute(self, sql, parameters)
        step()
        return cursor

    def heard(event, arguments):
        if event in FILE_CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            step()

    Transaction.execute = trapped
    sys.addaudithook(heard)
    return steps
