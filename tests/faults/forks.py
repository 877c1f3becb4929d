"""Children of one process that work on a faulty storage, one after the other."""

import os
import select
import subprocess
import sys
from pathlib import Path

WAIT_S = 120


class Forks:
    """A process whose forked children each do the same: an interpreter for each would take far longer.

    Args:
        storage: That they work on.
        locking: How they lock.
        action: What they do, a function of `ledger_work.py`.
    """

    def __init__(self, storage, locking, action):
        script = Path(__file__).parent / "ledger_work.py"
        self._process = subprocess.Popen(
            [sys.executable, script, storage.folder, locking, "in_forks", action],
            env={**os.environ, **storage.environment()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._process.__exit__(*exception)

    def start(self, folder):
        self._process.stdin.write(f"{folder}\n".encode())

    def told(self):
        """What a child acknowledged; whether it then "stopped" or "ended"; its id, or its exit status."""
        acknowledged = []
        while True:
            assert select.select([self._process.stdout], [], [], WAIT_S)[0], "it hangs"
            words = self._process.stdout.readline().decode().split()
            if len(words) != 1:
                what, number = words
                return acknowledged, what, int(number)
            acknowledged += words
