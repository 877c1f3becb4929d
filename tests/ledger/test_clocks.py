"""Hosts whose clocks are wrong by a day, or jump, judge each other as rightly as all others do."""

import functools
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import ExitStack, suppress
from itertools import cycle
from pathlib import Path

import clock_work
import pytest

from dahps_core.ledger import Ledger
from dahps_core.model.records import TrialState
from tests.support import skip_unless_required, wait_until

WAIT_S = 60
DAY_S = 86_400.0
#: Much longer than a test, much shorter than what a clock is wrong by.
ABOUT_S = 600.0
PLACES = (
    "/usr/lib/*/faketime",
    "/usr/lib*/faketime",
    "/usr/local/lib/faketime",
    "/opt/homebrew/lib/faketime",
)
#: How far each host's clock is from ours.
WRONG_BY_S = {"honest": (0.0,), "yesterday": (-DAY_S,), "tomorrow": (DAY_S,), "jumping": (-DAY_S, 0.0, DAY_S)}


@functools.cache
def library():
    """Debian's libfaketime, wherever it lies; None where it is not installed."""
    found = (path for place in PLACES for path in sorted(Path("/").glob(f"{place[1:]}/libfaketime.so.1")))
    return next(found, None)


@pytest.fixture(autouse=True)
def _faketime():
    if library() is None:
        skip_unless_required("FAULTS", "wrong clocks need libfaketime (Debian: apt-get install libfaketime)")


class Scene:
    """Hosts that share a ledger, each with a clock of its own.

    Args:
        folder: For the ledger and the notes.
        locking: As the ledger is made with.
        stamps: Whose clock stamps a heartbeat: "server", which is right, or "host".
    """

    def __init__(self, folder, locking, stamps="server"):
        self.folder, self._locking, self._stamps = folder / "a ledger", locking, stamps
        self._notes = folder / "notes"
        self._notes.mkdir(parents=True)
        self._jumps = cycle(["-1d", "+1d", "-1d", "+0"])
        self._processes = []
        self.jump()
        Ledger.join(self.folder, clock_work.SEARCH, locking=locking).close()

    def start(self, clock, how="work"):
        script = Path(clock_work.__file__)
        process = subprocess.Popen(
            [sys.executable, script, self.folder, self._locking, self._notes, clock, how],
            env={**os.environ, **self._environment(clock)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def jump(self):
        """The clocks that jump do so at once, by a day or two; nobody finds the file half written."""
        half = self._notes / "clock.half"
        half.write_text(next(self._jumps))
        os.replace(half, self._notes / "clock")

    def wait_until(self, predicate, what):
        """Wait while the clocks jump."""
        wait_until(lambda: [self.jump(), predicate()][1], WAIT_S, what)

    def started(self):
        """What was noted at the beginning of each attempt."""
        notes = self._notes / "started"
        return [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []

    def has_started(self, number):
        return any(note["number"] == number for note in self.started())

    def go_on(self):
        (self._notes / "go on").touch()

    def wait_for_beats(self, for_s):
        """Wait until the heart that beats most often has done so for so long."""
        stamps = defaultdict(set)

        def have_beaten():
            for path in (self.folder / "heartbeats").iterdir():
                stamps[path].add(path.stat().st_mtime_ns)
            return max(map(len, stamps.values())) > for_s / clock_work.HEARTBEAT_S

        self.wait_until(have_beaten, "signs of life")

    def end(self):
        with ExitStack() as stack:
            for process in self._processes:
                stack.enter_context(process)
                process.kill()
                for name in (f"faketime_shm_{process.pid}", f"sem.faketime_sem_{process.pid}"):
                    with suppress(FileNotFoundError):  # which a process that is killed leaves behind
                        (Path("/dev/shm") / name).unlink()

    def _environment(self, clock):
        if clock == "honest":
            return {}
        variables = {
            "LD_PRELOAD": " ".join([str(library()), *os.environ.get("LD_PRELOAD", "").split()]),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # no clock that counts from the start is ever wrong
            "NO_FAKE_STAT": "1",
            # With it, what the server stamps is told as it is, and not as this host's clock would have it.
            "FAKE_UTIME": "1" if self._stamps == "server" else "0",
        }
        if clock == "jumping":
            file = {"FAKETIME_TIMESTAMP_FILE": str(self._notes / "clock"), "FAKETIME_NO_CACHE": "1"}
            return {**variables, **file}
        return {**variables, "FAKETIME": {"yesterday": "-1d", "tomorrow": "+1d"}[clock]}


@pytest.fixture
def scene_of(tmp_path):
    with ExitStack() as stack:

        def made(locking="fcntl", stamps="server"):
            scene = Scene(tmp_path, locking, stamps)
            stack.callback(scene.end)
            return scene

        yield made


def states_of_workers(ledger):
    return {worker.job: worker.state for worker in ledger.workers("run")}


def trials_by_number(ledger):
    return {trial.number: trial for trial in ledger.trials()}


SCENES = [
    ("fcntl", "server", "yesterday", "tomorrow", "honest"),
    ("fcntl", "server", "honest", "tomorrow", "yesterday"),
    ("fcntl", "server", "yesterday", "honest", "tomorrow"),
    ("fcntl", "server", "honest", "yesterday", "jumping"),
    ("fcntl", "host", "tomorrow", "jumping", "honest"),
    ("folder", "server", "yesterday", "honest", "tomorrow"),
    ("folder", "host", "honest", "jumping", "yesterday"),
]


@pytest.mark.parametrize(("locking", "stamps", "victim", "living", "observer"), SCENES)
def test_wrong_clocks_neither_lose_nor_duplicate_a_trial(scene_of, locking, stamps, victim, living, observer):
    scene = scene_of(locking, stamps)
    dying = scene.start(victim)
    scene.wait_until(lambda: scene.has_started(0), "the trial of the one that will die")
    surviving = scene.start(living)
    scene.wait_until(lambda: scene.has_started(1), "the trial of the one that will live")
    observing = scene.start(observer)
    with Ledger.open(scene.folder) as ledger:
        scene.wait_until(lambda: states_of_workers(ledger).get(observer) == "waiting", "an observer")
        scene.wait_for_beats(2 * clock_work.LEASE_S)
        counts = ledger.counts()
        assert (counts[TrialState.RUNNING], counts[TrialState.LOST]) == (len(clock_work.LONG), 0)
        dying.kill()
        scene.wait_until(
            lambda: trials_by_number(ledger)[0].state is TrialState.FINISHED, "the lost trial's second end"
        )
        scene.wait_for_beats(clock_work.LEASE_S)
        assert trials_by_number(ledger)[1].attempts == 1, "a living worker was held for dead"
        scene.go_on()
        for process in (surviving, observing):
            _, complaints = process.communicate(timeout=WAIT_S)
            assert process.returncode == 0, complaints
        trials = list(ledger.trials())
    assert [(trial.state, trial.metric) for trial in trials] == [
        (TrialState.FINISHED, number) for number in range(5)
    ]
    assert [trial.attempts for trial in trials] == [2, 1, 1, 1, 1]
    started = scene.started()
    assert sorted((note["number"], note["attempt"]) for note in started) == [
        *((0, 1), (0, 2), (1, 1), (2, 1), (3, 1), (4, 1))
    ]
    assert {note["worker"] for note in started} == {victim, living, observer}
    assert_clocks_were_wrong(started)


def assert_clocks_were_wrong(started):
    """That each worker's wall clock was off, and no other clock of it."""
    now, monotonic, boot = time.time(), time.monotonic(), clock_work.boot_time()
    for note in started:
        assert abs(note["monotonic"] - monotonic) < ABOUT_S
        assert abs(note["boot"] - boot) < ABOUT_S
        assert min(abs(note["wall"] - now - by) for by in WRONG_BY_S[note["worker"]]) < ABOUT_S, note


def test_whoever_compared_wall_clocks_would_run_a_living_worker_s_trial_again(scene_of):
    scene = scene_of()
    for number in clock_work.LONG:
        scene.start("honest")
        scene.wait_until(lambda: scene.has_started(number), "a long trial")  # noqa: B023 - called at once
    scene.start("tomorrow", "by_the_wall_clock")
    with Ledger.open(scene.folder) as ledger:
        scene.wait_until(
            lambda: [trials_by_number(ledger)[number].attempts for number in clock_work.LONG] == [2, 2],
            "the mistake",
        )


@pytest.mark.parametrize(("clock", "expected"), [("yesterday", -DAY_S), ("tomorrow", DAY_S), ("honest", 0)])
def test_and_would_see_a_heartbeat_of_now_a_day_away(scene_of, clock, expected):
    scene = scene_of()
    scene.start("honest")
    scene.wait_until(lambda: scene.has_started(0), "a worker")
    age, complaints = scene.start(clock, "age").communicate(timeout=WAIT_S)
    assert abs(float(age) - expected) < ABOUT_S, complaints


@pytest.mark.parametrize("clock", ["yesterday", "tomorrow"])
def test_a_person_on_a_host_whose_clock_is_wrong_sees_that_a_worker_lives(scene_of, clock):
    scene = scene_of()
    scene.start("honest")
    scene.wait_until(lambda: scene.has_started(0), "a worker")
    shown, complaints = scene.start(clock, "status").communicate(timeout=WAIT_S)
    [worker] = json.loads(shown)["present"]
    assert not worker["is_silent"], complaints
    assert worker["silent_s"] < ABOUT_S


def test_a_multirun_s_time_is_the_storage_s_whatever_the_hosts_clocks_say(scene_of):
    scene = scene_of()
    told = []
    for clock in ("honest", "yesterday", "tomorrow", "honest"):
        elapsed, complaints = scene.start(clock, "run_time").communicate(timeout=WAIT_S)
        assert elapsed, complaints
        told.append(float(elapsed))
    assert told == sorted(told), "it goes on"
    assert 0 <= told[0] < told[-1] < ABOUT_S
