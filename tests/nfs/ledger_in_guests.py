"""What the tests ask of a ledger on the lab's mount: processes in its guests, and what they tell."""

import json
import sys
from collections import Counter
from pathlib import Path

from tests.nfs import guest_work
from tests.nfs.guest_work import HEARTBEAT_S, LEASE_S
from tests.support import wait_until

__all__ = ["HEARTBEAT_S", "LEASE_S", "LedgerInGuests", "Worker"]

ROOT = Path(__file__).resolve().parents[2]
#: Far more than anything here takes; a failure is told after it.
WAIT_S = 240


class Worker:
    """A process in a guest that works on a ledger.

    Args:
        process: As `Guest.start` returned it.
    """

    def __init__(self, process):
        self.process = process

    def events(self, name):
        """What it told until now under a name, oldest first."""
        return [event[name] for event in self._events() if name in event]

    def acknowledged(self):
        """The finishes that it was told are recorded: (number, what it recorded)."""
        return [(event["finished"], event["token"]) for event in self._events() if "finished" in event]

    def _events(self):
        return [json.loads(line) for line in [*self.process.lines] if line.startswith("{")]

    def wait_for(self, name):
        """The first that it tells under a name."""
        return self._wait_until(lambda: self.events(name), name)[0]

    def wait_for_finishes(self, n_more):
        """Return when it has finished so many more trials."""
        enough = len(self.acknowledged()) + n_more
        self._wait_until(lambda: len(self.acknowledged()) >= enough, f"{n_more} more finishes")

    def _wait_until(self, predicate, what):
        def answer_or_end():
            # Asked for before the answer, which a process may give and end.
            has_ended = not self.process.is_running()
            if not (answer := predicate()) and has_ended:
                raise AssertionError(f"it ended before '{what}': {self}")
            return answer

        try:
            return wait_until(answer_or_end, WAIT_S, what)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self}") from error

    def ends_well(self):
        """It ended, and not by an error."""
        assert self.process.wait(WAIT_S) == 0, self.process.lines[-30:]

    def __str__(self):
        return "\n".join([str(self.process), *self.process.lines[-30:]])


class LedgerInGuests:
    """A ledger in a folder of the lab's mount.

    Args:
        lab: A lab that is up.
        name: The folder's, among those of other tests.
    """

    def __init__(self, lab, name):
        self.lab = lab
        self.name = f"{name} 'of' the \"lab\" ü"
        self.workers = []

    def start(self, client, action, *arguments):
        """A process that runs a function of `guest_work`, in the client of this index."""
        self.workers.append(Worker(self._start(client, action, self.name, *arguments)))
        return self.workers[-1]

    def _start(self, client, action, name, *arguments):
        argv = [sys.executable, guest_work.__file__, action, str(self.lab.mount_point / name), *arguments]
        return self.lab.clients[client].start(argv, PYTHONPATH=str(ROOT))

    def start_hurried(self, n_each, *arguments, clients=(0, 1)):
        """So many processes in each client that work as fast as they can; returns when all have begun."""
        started = [self.start(client, "hurry", *arguments) for _ in range(n_each) for client in clients]
        for worker in started:
            worker.wait_for("ready")
        return started

    def look(self, client=1, name=None):
        """What a new process in a client sees: the file's condition, and the trials by number."""
        process = self._start(client, "check", name or self.name)
        worker = Worker(process)
        worker.ends_well()
        condition, *trials = worker._events()
        return condition, {trial["number"]: trial for trial in trials}

    def assert_nothing_is_wrong(self, client=1):
        """What locking is for: a sound file, no trial twice, none missing, each as its holder recorded it.

        Returns:
            The trials by number.
        """
        acknowledged = [finish for worker in self.workers for finish in worker.acknowledged()]
        twice = [
            number for number, times in Counter(number for number, _ in acknowledged).items() if times > 1
        ]
        assert not twice
        condition, trials = self.look(client)
        assert condition == {"integrity": ["ok"], "references": [], "changes": 0}
        assert [*trials] == [*range(len(trials))]
        assert len({trial["combination"] for trial in trials.values()}) == len(trials)
        lost = [
            (number, token)
            for number, token in acknowledged
            if (trials[number]["state"], trials[number]["token"]) != ("finished", token)
        ]
        assert not lost
        return trials

    def copy_without_journal(self):
        """A copy, made by the server, of the ledger's file alone; its name."""
        here, there = (self.lab.export / name for name in (self.name, f"copy of {self.name}"))
        self.lab.server.run(["mkdir", str(there)])
        self.lab.server.run(["cp", str(here / "ledger.db"), str(there / "ledger.db")])
        return there.name
