"""A search comes through a storm unharmed; and the inquest that says so would see if it had not."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import skip_unless_required
from tests.slurm import cluster
from tests.slurm.accounting import Attempt, Event, Inquest, Killed

ROOT = Path(__file__).parents[2]
N_STEPS = 2


@pytest.mark.slurm
@pytest.mark.parametrize("options", [[], ["spawn=true"]], ids=["forked", "spawned"])
def test_a_search_comes_through_a_storm(options):
    try:
        cluster.check_preconditions()
    except cluster.ClusterError as error:
        skip_unless_required("SLURM", str(error))
    quiet = ["-W", "ignore:The version_base parameter"]  # of Hydra 1.4
    storm = ["-m", "tests.slurm.chaos", "--trials=40", "--storm=35", "--seed=1", *options]
    command = [sys.executable, *quiet, *storm]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")


def attempt(number, attempt, first, last):
    """What an attempt writes down that finds `first` steps and leaves `last`; with all it ends."""
    steps = [("start", first)] + [("step", step) for step in range(first + 1, last + 1)]
    steps += [("end", last)] if last == N_STEPS else []
    return [Event(0.0, what, number, attempt, step, pid=10 * number + attempt) for what, step in steps]


#: Of trial 0 a worker was killed after a step, and another one went on; trial 1 knew no trouble.
EVENTS = [*attempt(0, 1, 0, 1), *attempt(1, 1, 0, 2), *attempt(0, 2, 1, 2)]
FINISHED = Attempt("finished", worker=2, metric=0.5)
ACCOUNTS = {(0, 1): Attempt("lost", worker=1), (0, 2): FINISHED, (1, 1): FINISHED}
KILLED = Killed(workers={1: 0.0}, trials_of={3})


def inquest(events=EVENTS, accounts=ACCOUNTS):
    return Inquest(events, accounts, KILLED, metrics=[0.5, 0.5])


@pytest.mark.parametrize("first", [Attempt("lost", 1), Attempt("released", 5), Attempt("died", 3)])
def test_a_sound_story_has_no_fault(first):
    assert inquest(accounts={**ACCOUNTS, (0, 1): first}).faults == []


def test_a_claim_that_was_given_back_before_it_began_is_counted():
    accounts = {**ACCOUNTS, (0, 2): Attempt("released"), (0, 3): FINISHED}
    found = inquest([*attempt(0, 1, 0, 1), *attempt(1, 1, 0, 2), *attempt(0, 3, 1, 2)], accounts)
    assert found.faults == []
    assert found.counts["released before they began"] == 1


def test_a_step_that_was_saved_and_not_noted_is_no_fault():
    assert inquest([*attempt(0, 1, 0, 0), *attempt(1, 1, 0, 2), *attempt(0, 2, 1, 2)]).faults == []


FAULTS = {
    "unfinished": (EVENTS, {**ACCOUNTS, (0, 2): Attempt("lost", 1)}, "is lost, and came 1"),
    "finished without an end": (EVENTS[:-1], ACCOUNTS, "came 0 times to its end"),
    "finished more than once": ([*EVENTS, EVENTS[-1]], ACCOUNTS, "came 2 times to its end"),
    "a trial that is missing": (EVENTS, {(0, 1): FINISHED}, "1 metrics of 2"),
    "a result of another trial": (
        EVENTS,
        {**ACCOUNTS, (1, 1): replace(FINISHED, metric=0.25)},
        "or other ones",
    ),
    "an unknown attempt": ([*EVENTS, *attempt(0, 3, 0, 0)], ACCOUNTS, "the ledger does not know"),
    "a failure": (EVENTS, {**ACCOUNTS, (0, 1): Attempt("failed", 1)}, "no deed explains"),
    "lost without a kill": (EVENTS, {**ACCOUNTS, (0, 1): Attempt("lost", 3)}, "no deed explains"),
    "died without a kill": (EVENTS, {**ACCOUNTS, (0, 1): Attempt("died", 5)}, "no deed explains"),
    "an orphan": ([EVENTS[0], replace(EVENTS[1], at=60.0), *EVENTS[2:]], ACCOUNTS, "went on when its worker"),
    "an attempt that began twice": ([EVENTS[0], *EVENTS], ACCOUNTS, "begun more than once"),
    "two processes": ([replace(EVENTS[0], pid=99), *EVENTS[1:]], ACCOUNTS, "several processes"),
    "two attempts at once": (
        [*attempt(0, 1, 0, 0), *attempt(0, 2, 0, 1), *attempt(0, 1, 0, 1), *EVENTS[-2:]],
        ACCOUNTS,
        "when attempt 2 had begun",
    ),
    "a checkpoint that was not found": (
        [*attempt(0, 1, 0, 1), *attempt(1, 1, 0, 2), *attempt(0, 2, 0, 2)],
        ACCOUNTS,
        "a start at step 0, and 1 were saved",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found(name):
    events, accounts, words = FAULTS[name]
    assert words in "\n".join(inquest(events, accounts).faults)
