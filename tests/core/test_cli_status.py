"""`dahps status`: what is left, by which budget, who is silent, what is wrong; and how it fits a terminal."""

import json
import math
import os
import shlex
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dahps_core import Ledger
from dahps_core.ledger.folder.heartbeat import Heart
from dahps_core.ledger.folder.run_clock import RunClock, file_of_run
from dahps_core.ledger.folder.run_limits import RunLimits, keep_limits, limits_of, newest_limits
from dahps_core.worker.options import WorkerOptions
from tests.commands import dahps, on_a_terminal
from tests.ledger.ledger_support import claimed, fail, finish, grid, lose, register


def keep(ledger, run, max_trials=None, lease_s=120.0, stop_after_failures=None, only=None, **options):
    options = WorkerOptions(max_trials, 2, stop_after_failures, 0.1, lease_s, isolate=True, **options)
    keep_limits(ledger.folder, run, options.limits(only))


def beat(ledger, worker, ago_s=0.0):
    heart = Heart(ledger.folder, worker)
    heart.beat()
    stamp = heart.path.stat().st_mtime - ago_s
    os.utime(heart.path, (stamp, stamp))
    return heart


def status(ledger):
    return json.loads(dahps("status", ledger.folder, "--json"))


@pytest.fixture
def ledger(tmp_path):
    with Ledger.join(tmp_path / "a ledger", grid(*range(9))) as ledger:
        yield ledger


def test_what_is_left_is_what_the_largest_budget_of_a_live_multirun_leaves(ledger):
    hearts = {}
    for run, max_trials in (("small", 4), ("large", 7), ("whole", None)):
        keep(ledger, run, max_trials)
        worker = register(ledger, run)
        hearts[run] = beat(ledger, worker)
        finish(ledger, claimed(ledger, worker))
    told = {}
    for run in ("whole", "large", "small"):
        known = status(ledger)
        told[run] = known["max_trials"], known["left"], known["budget"]
        hearts[run].stop()
    assert told == {"whole": (None, 6, 9), "large": (7, 4, 7), "small": (4, 1, 4)}


def of_branch(folder, *values, **options):
    """A multirun of one branch with a live worker, which has finished one trial; its heart."""
    only = {"x": list(values)}
    with Ledger.join(folder, grid(*range(20)), only=only) as ledger:
        run = f"{values} {options}"
        keep(ledger, run, only=only, **options)
        worker = register(ledger, run)
        finish(ledger, claimed(ledger, worker))
        return beat(ledger, worker)


def test_what_is_left_of_branches_is_what_the_live_multiruns_may_draw(tmp_path):
    def left():
        with Ledger.open(tmp_path / "ledger") as ledger:
            known = status(ledger)
            return known["left"], known["budget"]

    few = of_branch(tmp_path / "ledger", 2, 3, 5)
    assert left() == (2, 3)
    more = of_branch(tmp_path / "ledger", *range(7, 14))
    assert left() == (8, 10)
    more.stop()
    more = of_branch(tmp_path / "ledger", *range(7, 14), max_trials=5)
    assert left() == (4, 7)
    few.stop()
    more.stop()
    overlapping = [of_branch(tmp_path / "ledger", *range(start, 20)) for start in (0, 1, 2)]
    assert 14 <= left()[0] <= 20  # no more than the space has; drawn by others is not yet passed over
    for heart in overlapping:
        heart.stop()


def test_of_a_branch_that_is_searched_nothing_is_left(tmp_path):
    of_branch(tmp_path / "ledger", 4).stop()
    with Ledger.open(tmp_path / "ledger") as ledger:
        known = status(ledger)
        assert (known["left"], known["troubles"]) == (0, [])


def test_of_a_branch_that_the_space_has_no_more_all_of_the_space_is_left(tmp_path):
    heart = of_branch(tmp_path / "ledger", 4)
    with Ledger.join(tmp_path / "ledger", grid("a", "b"), on_change="extend") as ledger:
        assert status(ledger)["left"] == 2
    heart.stop()


def test_where_no_worker_lives_the_multirun_that_was_started_last_counts(ledger):
    for run, max_trials in (("first", 7), ("last", 4)):
        keep(ledger, run, max_trials)
        stamp = {"first": 1e9, "last": 2e9}[run]
        os.utime(file_of_run(ledger.folder, run).with_suffix(".json"), (stamp, stamp))
    known = status(ledger)
    assert (known["max_trials"], known["left"], known["budget"]) == (4, 4, 4)


def test_a_budget_that_is_used_up_leaves_nothing_wrong(ledger):
    keep(ledger, "run", 2)
    worker = register(ledger)
    finish(ledger, claimed(ledger, worker))
    claim = claimed(ledger, worker)
    fail(ledger, claim)
    fail(ledger, claimed(ledger, worker, max_trials=2))
    ledger.retire(worker)
    known = status(ledger)
    assert (known["left"], known["budget"], known["troubles"]) == (0, 2, [])
    shown = dahps("status", ledger.folder)
    assert "budget  2 trials: 2 done, 0 left\n" in shown
    assert "trials  1 finished, 1 failed\n" in shown


def test_the_expected_end_is_that_of_the_budget_and_of_workers_that_live(ledger):
    keep(ledger, "run", 4)
    worker = register(ledger)
    heart = beat(ledger, worker)
    for _ in range(3):
        finish(ledger, claimed(ledger, worker))
    known = status(ledger)
    assert math.isclose(known["seconds_left"], 3600 / known["finished_per_hour"])
    assert "about" in dahps("status", ledger.folder)
    ledger.pause()
    assert status(ledger)["seconds_left"] is None
    ledger.resume()
    heart.stop()
    assert status(ledger)["seconds_left"] is None
    assert "\npace" not in dahps("status", ledger.folder)


def test_when_max_time_is_over_is_told_unless_a_multirun_has_none(ledger):
    keep(ledger, "short", max_time_s=3600.0)
    RunClock(ledger.folder, "short").start()
    keep(ledger, "long", max_time_s=7200.0)
    RunClock(ledger.folder, "long").start()
    hearts = [beat(ledger, register(ledger, run)) for run in ("short", "long")]
    assert 7000 < status(ledger)["max_time_left_s"] <= 7200
    hearts[1].stop()
    assert 3500 < status(ledger)["max_time_left_s"] <= 3600
    worker = register(ledger, "without end")
    beat(ledger, worker)
    assert status(ledger)["max_time_left_s"] is None


def test_a_multirun_keeps_what_it_was_started_with(ledger):
    keep(ledger, "run", 3)
    keep(ledger, "run", 5)
    assert limits_of(ledger.folder, "run") == RunLimits(max_trials=3, max_attempts=2)
    assert newest_limits(ledger.folder) == ("run", RunLimits(max_trials=3, max_attempts=2))
    assert limits_of(ledger.folder, "another") == RunLimits()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda some: st.lists(some) | st.dictionaries(st.text() | st.sampled_from(["run", "max_trials"]), some),
)


@given(JSON.map(json.dumps) | st.text())
def test_whatever_stands_in_the_limits_of_a_multirun_is_no_error(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "limits"
    keep_limits(folder, "run", WorkerOptions(None, 3, None, 15, 120, isolate=True).limits())
    file = file_of_run(folder, "run").with_suffix(".json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    limits = limits_of(folder, "run")
    assert limits.max_trials is None or -(2**63) < limits.max_trials < 2**63


@pytest.mark.parametrize(("lease_s", "is_silent"), [(60.0, True), (600.0, False)])
def test_a_worker_is_silent_after_the_lease_of_its_multirun(ledger, lease_s, is_silent):
    keep(ledger, "run", lease_s=lease_s)
    worker = register(ledger)
    beat(ledger, worker, ago_s=300)
    claimed(ledger, worker)
    [told] = status(ledger)["present"]
    assert told["is_silent"] is is_silent
    assert 299 < told["silent_s"] < 400


def test_a_dead_worker_is_missed_as_long_as_it_holds_a_trial(ledger):
    worker, other = register(ledger), register(ledger)
    beat(ledger, other)
    held = claimed(ledger, worker)
    shown = dahps("status", ledger.folder)
    assert "! 1 of 2 workers are silent" in shown
    assert "workers 1 silent, 1 working" in shown
    lose(ledger, held)
    assert status(ledger)["troubles"] == []
    assert "workers 1 working, 1 gone" in dahps("status", ledger.folder)


def test_who_may_only_read_is_told_as_well_and_leaves_nothing_behind(ledger):
    before = sorted(os.listdir(ledger.folder))
    status(ledger)
    assert sorted(os.listdir(ledger.folder)) == before


def test_workers_that_were_told_to_end_are_told(ledger):
    workers = [register(ledger) for _ in range(2)]
    for worker in workers:
        beat(ledger, worker)
        claimed(ledger, worker)
    ledger.stop()
    beat(ledger, register(ledger, "another run"))
    assert status(ledger)["troubles"] == ["2 of 3 workers were stopped, and exit after their trials"]


def stopped(ledger, worker):
    ledger.stop()


def given_up(ledger, worker):
    for _ in range(2):
        fail(ledger, claimed(ledger, worker))


def never_begun(ledger, worker):
    pass


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (
            stopped,
            "the workers were stopped, by a person or by max_time, and 9 trials are left: rerun",
        ),
        (
            given_up,
            "the multirun stopped, as its first 2 attempts failed, and 9 trials are left: rerun",
        ),
        (
            never_begun,
            "no worker is alive, and 9 trials are left: if no job is queued, rerun",
        ),
    ],
)
def test_why_nobody_works_is_told(ledger, happens, told):
    keep(ledger, "run", stop_after_failures=2)
    worker = register(ledger)
    happens(ledger, worker)
    ledger.retire(worker)
    assert status(ledger)["troubles"][0].startswith(told)


def test_status_tells_what_is_wrong_the_worst_first(ledger):
    good, bad = (register(ledger, host=host) for host in ("good", "bad"))
    for number in range(6):
        claim = claimed(ledger, bad if number % 2 else good, max_attempts=1)
        if number % 2:
            fail(ledger, claim, error="Traceback\nOSError: no disk\n")
        else:
            finish(ledger, claim)
    ledger.pause()
    assert status(ledger)["troubles"] == [
        f"paused; to resume: dahps resume {shlex.quote(str(ledger.folder))}",
        "no worker is alive, and 6 trials are left: if no job is queued, rerun the same command to continue",
        "3 of the last 6 trials failed, 3 of them as #5 did: OSError: no disk",
        "bad: its last 3 trials failed, but not those of other hosts",
    ]


def test_a_watch_shows_what_changes_and_ends_quietly(ledger):
    worker = register(ledger)
    words = [sys.executable, "-m", "dahps_core", "status", str(ledger.folder), "--watch", "0.1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        for line in watching.stdout:
            if line.startswith("trials  1 finished"):
                break
            if line.startswith("trials  none yet") and ledger.n_drawn == 0:
                finish(ledger, claimed(ledger, worker))
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 130
        assert watching.stderr.read() == ""


def test_a_watch_on_a_terminal_ends_quietly(ledger):
    with on_a_terminal("status", ledger.folder, "--watch", "0.1") as terminal:
        assert "░" in terminal.read_until("left")
        terminal.type("\x03")
        terminal.read_until()
        assert terminal.process.wait(30) == 130


@pytest.mark.parametrize("columns", [80, 120])
def test_all_of_it_fits_a_terminal_with_what_is_wrong_at_the_top(tmp_path, columns):
    values = [f"a value of some length, {number}" for number in range(60)]
    with Ledger.join(tmp_path, grid(*values)) as ledger:
        for number in range(40):
            worker = register(ledger, host=f"node{number}")
            claimed(ledger, worker)
            if number:
                beat(ledger, worker)
        finish(ledger, claimed(ledger, worker))
    with on_a_terminal("status", tmp_path, columns=columns) as terminal:
        shown = terminal.read_until().split("\r\n")[:-1]
        assert terminal.process.wait(30) == 0
    assert shown[0].startswith("! 1 of 40 workers are silent")
    assert len(shown) < 24
    assert max(map(len, shown)) <= columns
    [bar] = [line for line in shown if "█" in line]
    assert bar.endswith(" 1.7%")
    first = shown.index(next(line for line in shown if line.startswith("host")))
    assert shown[first + 1].split()[0] == "node0", "who is silent comes first"
    n_more = 40 - (len(shown) - first - 2)
    assert shown[-1] == f"and {n_more} more"
