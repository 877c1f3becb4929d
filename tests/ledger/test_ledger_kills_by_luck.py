"""Processes that are killed at random moments, as often as one likes: `DAHPS_KILLS=2000`."""

import multiprocessing
import os
import random
import statistics
import time

import pytest
from ledger_support import claimed, finish, register, sql

from dahps_core.ledger import FILE_NAME, Ledger, Search
from dahps_core.model.records import TrialState
from dahps_core.space import SearchSpace
from tests.support import wait_until

N_KILLS = int(os.environ.get("DAHPS_KILLS", "60"))  # of both ways of locking together
N_WORKERS = 4
WAIT_S = 120
CONTEXT = multiprocessing.get_context("fork")


def level(key, below):
    return {"key": key, "values": [*range(200)], "default": below}


#: More trials than any number of kills needs.
SEARCH = Search(
    SearchSpace.from_config({"root": level("x", level("y", level("z", None)))}), strategy="grid", seed=0
)


def work_until_killed(folder, locking, acknowledged):
    """Each finish is noted when it was acknowledged, with the moment."""
    with Ledger.join(folder, SEARCH, locking=locking) as ledger, open(acknowledged, "a") as notes:
        worker = register(ledger, pid=os.getpid())
        while True:
            claim = claimed(ledger, worker)
            finish(ledger, claim, metric=float(claim.number))
            notes.write(f"{claim.number} {time.monotonic()}\n")
            notes.flush()


class Crowd:
    """Workers that come and are killed, and what each of them had acknowledged."""

    def __init__(self, folder, locking, notes):
        self._folder, self._locking, self._notes = folder, locking, notes
        self._children = []
        self.killed_at = []

    def start(self):
        path = self._path(len(self._children))
        child = CONTEXT.Process(target=work_until_killed, args=(self._folder, self._locking, path))
        child.start()
        self._children.append(child)

    def kill(self, index):
        self._children[index].kill()
        self.killed_at.append(time.monotonic())

    def end(self):
        for child in self._children:
            child.kill()
            child.join()

    def has_finished_one(self, index):
        path = self._path(index)
        return path.exists() and path.stat().st_size > 0

    def acknowledged(self):
        """(trial, moment) of every finish."""
        lines = []
        for index in range(len(self._children)):
            if self.has_finished_one(index):
                lines += self._path(index).read_text().split("\n")[:-1]  # the last one may be half a line
        return [(int(number), float(moment)) for number, moment in map(str.split, lines)]

    def exit_codes(self):
        return {child.exitcode for child in self._children}

    def _path(self, index):
        return self._notes / str(index)


@pytest.mark.parametrize("locking", ["fcntl", "folder"])
def test_whoever_is_killed_when_no_acknowledged_finish_is_lost(folder, tmp_path, locking):
    notes = tmp_path / "notes"
    notes.mkdir()
    Ledger.join(folder, SEARCH, locking=locking).close()
    moments = random.Random(5)
    crowd = Crowd(folder, locking, notes)
    try:
        for _ in range(N_WORKERS):
            crowd.start()
        for victim in range(N_KILLS // 2):
            wait_until(lambda: crowd.has_finished_one(victim), WAIT_S, "a finish", 0.005)  # noqa: B023
            time.sleep(moments.uniform(0, 0.05))  # nothing is awaited: the moment is to be random
            crowd.kill(victim)
            crowd.start()
    finally:
        crowd.end()
    assert crowd.exit_codes() == {-9}, "a worker that ended by itself met an error"
    acknowledged = [number for number, _ in crowd.acknowledged()]
    assert len(acknowledged) >= N_KILLS // 2
    assert len(set(acknowledged)) == len(acknowledged)
    with Ledger.open(folder) as ledger:
        trials = {trial.number: trial for trial in ledger.trials()}
        assert sorted(trials) == list(range(len(trials)))
        assert {trials[number].state for number in acknowledged} == {TrialState.FINISHED}
        assert all(trials[number].metric == number for number in acknowledged)
        n_left = serve_what_the_dead_left(ledger, trials)
    assert_sound(folder, locking)
    tell(crowd, folder, locking, len(acknowledged), n_left)


def serve_what_the_dead_left(ledger, trials):
    """Every trial that was drawn and not finished is served once, the oldest first."""
    unfinished = [number for number, trial in trials.items() if trial.state is not TrialState.FINISHED]
    assert len(unfinished) == ledger.counts()[TrialState.RUNNING]
    dead = [worker.id for worker in ledger.workers("run")]
    worker = register(ledger)
    again = [claimed(ledger, worker, max_trials=len(trials), dead=dead).number for _ in unfinished]
    assert again == sorted(unfinished)
    return len(again)


def assert_sound(folder, locking):
    place = folder if locking == "fcntl" else epochs(folder)[-1]
    assert sql(place, "PRAGMA integrity_check") == [("ok",)]
    assert sql(place, "PRAGMA foreign_key_check") == []


def epochs(folder):
    found = (folder / FILE_NAME).glob("epoch-*")
    return sorted(found, key=lambda path: int(path.name.partition("-")[2]))


def tell(crowd, folder, locking, n_acknowledged, n_left):
    """The figures, for who runs it by hand with `pytest -s`."""
    finishes = sorted(moment for _, moment in crowd.acknowledged())
    gaps = sorted(gaps_after(crowd.killed_at, finishes))
    n_takeovers = int(epochs(folder)[-1].name.partition("-")[2]) - 1 if locking == "folder" else 0
    print(
        f"\n{locking}: {len(crowd.killed_at)} kills, {n_acknowledged} finishes acknowledged, {n_left} trials"
        f" left behind and served again, {n_takeovers} takeovers; from a kill to the next finish of anybody"
        f" {statistics.median(gaps):.3f} s in the median, {gaps[int(0.99 * len(gaps))]:.3f} s p99,"
        f" {gaps[-1]:.3f} s at most"
    )


def gaps_after(kills, finishes):
    """The seconds from each kill to the first finish after it."""
    following = iter(finishes)
    finish = next(following)
    for kill in kills:
        while finish < kill:
            finish = next(following, kill)
        yield finish - kill
