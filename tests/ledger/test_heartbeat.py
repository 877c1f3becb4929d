"""Life and death as an observer judges them: by changes it sees, over its own clock."""

import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dahps_core.ledger.folder import heartbeat
from dahps_core.ledger.folder.heartbeat import Heart, Observer

LEASE_S = 60.0
DAY_S = 86_400


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "it's a 'ledger' ü"
    folder.mkdir()
    return folder


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def observer(folder, clock):
    return Observer(folder, LEASE_S, clock)


@pytest.fixture
def look_for(observer, clock):
    """Looks at workers every 10 s for so many seconds, with something done before each look."""

    def look_for(seconds, *workers, before=lambda: None):
        for _ in range(int(seconds / 10)):
            clock.now += 10
            before()
            observer.look(workers)

    return look_for


def beat_at(folder, worker, stamp_ns):
    """A beat as a file server with some clock of its own stamps it."""
    path = folder / "heartbeats" / worker
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, ns=(stamp_ns, stamp_ns))


class TestObserver:
    def test_knows_nothing_at_the_first_look(self, observer, folder):
        Heart(folder, "w").beat()
        observer.look(["w"])
        assert observer.dead() == set()
        assert observer.alive() == set()

    def test_holds_a_worker_for_dead_after_a_lease_without_a_change(self, observer, folder, look_for):
        Heart(folder, "w").beat()
        observer.look(["w"])
        look_for(LEASE_S - 10, "w")
        assert observer.dead() == set()
        look_for(10, "w")
        assert observer.dead() == {"w"}
        assert observer.alive() == set()

    def test_holds_a_worker_without_a_file_for_dead_after_a_lease(self, observer, look_for):
        observer.look(["w"])
        look_for(LEASE_S - 10, "w")
        assert observer.dead() == set()
        look_for(10, "w")
        assert observer.dead() == {"w"}

    def test_holds_a_worker_that_stopped_for_dead_after_a_lease(self, observer, folder, look_for):
        heart = Heart(folder, "w")
        heart.beat()
        observer.look(["w"])
        heart.stop()
        look_for(LEASE_S, "w")
        assert observer.dead() == {"w"}

    @pytest.mark.parametrize("wrong_by_s", [-DAY_S, 0, DAY_S])
    def test_sees_life_whatever_the_server_s_clock_says(self, observer, folder, look_for, wrong_by_s):
        stamps = iter(range(time.time_ns() + wrong_by_s * 10**9, 2**62, 10**9))
        beat_at(folder, "w", next(stamps))
        observer.look(["w"])
        look_for(10 * LEASE_S, "w", before=lambda: beat_at(folder, "w", next(stamps)))
        assert observer.alive() == {"w"}
        assert observer.dead() == set()

    @pytest.mark.parametrize("wrong_by_s", [-DAY_S, 0, DAY_S])
    def test_sees_death_whatever_the_server_s_clock_says(self, observer, folder, look_for, wrong_by_s):
        beat_at(folder, "w", time.time_ns() + wrong_by_s * 10**9)
        observer.look(["w"])
        look_for(LEASE_S, "w")
        assert observer.dead() == {"w"}

    def test_takes_a_clock_that_jumps_back_for_life(self, observer, folder, look_for):
        beat_at(folder, "w", time.time_ns())
        observer.look(["w"])
        look_for(LEASE_S - 10, "w")
        beat_at(folder, "w", time.time_ns() - DAY_S * 10**9)
        look_for(10, "w")
        assert observer.alive() == {"w"}

    def test_takes_back_a_death_when_the_heart_beats_again(self, observer, folder, look_for):
        beat_at(folder, "w", 1)
        observer.look(["w"])
        look_for(LEASE_S, "w")
        beat_at(folder, "w", 2)
        look_for(10, "w")
        assert observer.dead() == set()
        assert observer.alive() == {"w"}

    def test_takes_a_file_that_was_removed_and_made_anew_for_life(self, observer, folder, look_for):
        stamps = iter(range(1, 100))
        path = folder / "heartbeats" / "w"

        def beat_into_a_new_file():
            path.unlink(missing_ok=True)
            observer.look(["w"])
            beat_at(folder, "w", next(stamps))

        beat_at(folder, "w", next(stamps))
        observer.look(["w"])
        look_for(10 * LEASE_S, "w", before=beat_into_a_new_file)
        assert (observer.alive(), observer.dead()) == ({"w"}, set())

    def test_judges_each_worker_for_itself(self, observer, folder, look_for):
        stamps = iter(range(1, 100))
        beat_at(folder, "dead", 1)
        observer.look(["dead", "alive"])
        look_for(LEASE_S, "dead", "alive", before=lambda: beat_at(folder, "alive", next(stamps)))
        assert observer.dead() == {"dead"}
        assert observer.alive() == {"alive"}

    def test_an_hour_in_which_it_did_not_look_is_no_hour_of_silence(self, observer, folder, clock):
        beat_at(folder, "w", 1)
        observer.look(["w"])
        clock.now += 3600
        assert observer.dead() == set()
        observer.look(["w"])
        assert observer.dead() == set()
        clock.now += LEASE_S / 2
        observer.look(["w"])
        assert observer.dead() == {"w"}

    def test_what_it_saw_an_hour_ago_holds_no_longer(self, observer, folder, clock, look_for):
        beat_at(folder, "alive", 1)
        observer.look(["alive", "dead"])
        look_for(LEASE_S, "alive", "dead", before=lambda: beat_at(folder, "alive", int(clock.now)))
        assert (observer.alive(), observer.dead()) == ({"alive"}, {"dead"})
        clock.now += 3600
        assert (observer.alive(), observer.dead()) == (set(), set())

    def test_a_file_that_cannot_be_read_tells_nothing(self, observer, folder, clock, monkeypatch):
        def refuse(*arguments):
            raise OSError(5, "Input/output error")

        beat_at(folder, "w", 1)
        observer.look(["w"])
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", refuse)
            for _ in range(10):
                clock.now += LEASE_S / 3
                observer.look(["w"])
        assert observer.dead() == set()
        observer.look(["w"])
        assert observer.dead() == set()

    def test_forgets_whom_it_need_not_watch(self, observer, folder, look_for):
        beat_at(folder, "w", 1)
        observer.look(["w"])
        look_for(LEASE_S, "w")
        observer.look([])
        assert observer.dead() == set()
        observer.look(["w"])
        assert observer.dead() == set()


class TestObserverOfMany:
    @settings(deadline=None, max_examples=50)
    @given(
        n_alive=st.integers(0, 40),
        n_dead=st.integers(0, 40),
        most=st.integers(2, 20),
    )
    def test_finds_each_death_in_bounded_looks_and_takes_nobody_alive_for_dead(self, n_alive, n_dead, most):
        alive, dead = (
            {f"{kind}-{n}" for n in range(count)} for kind, count in (("a", n_alive), ("d", n_dead))
        )
        looks, clock, stamps = [], Clock(), iter(range(10**6))
        files = dict.fromkeys(alive | dead, 0)

        def stamp(path):
            looks.append(path.name)
            return files[path.name]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(heartbeat, "fresh_stamp", stamp)
            observer = Observer(Path("ledger"), LEASE_S, clock, most=most)
            found = set()
            a_round = 10 * -(-(n_alive + n_dead) // (most // 2))
            for _ in range(int((LEASE_S + 3 * a_round) / 10) + 1):
                clock.now += 10
                files.update(dict.fromkeys(alive, next(stamps)))
                observer.look(alive | dead)
                assert len(looks) <= most
                looks.clear()
                found |= observer.dead()
        assert found == dead

    def test_many_observers_begin_with_different_workers(self, folder, monkeypatch):
        looks = []
        monkeypatch.setattr(heartbeat, "fresh_stamp", lambda path: looks.append(path.name))
        for _ in range(20):
            Observer(folder, LEASE_S, most=2).look([str(number) for number in range(100)])
        assert len(set(looks)) > 10


class TestHeart:
    def test_every_beat_changes_the_stamp_that_others_see(self, folder):
        heart = Heart(folder, "w")
        heart.beat()
        beat_at(folder, "w", 1)
        heart.beat()
        assert (folder / "heartbeats" / "w").stat().st_mtime_ns > 1

    def test_stops_without_a_trace(self, folder):
        with Heart(folder, "w") as heart:
            assert [path.name for path in (folder / "heartbeats").iterdir()] == ["w"]
        assert list((folder / "heartbeats").iterdir()) == []
        heart.stop()

    def test_a_storage_that_refuses_stops_no_work_and_is_tried_again(self, folder):
        heart = Heart(folder, "w")
        (folder / "heartbeats").write_text("a file where the folder should be")
        heart.beat()
        heart.stop()
        (folder / "heartbeats").unlink()
        heart.beat()
        assert (folder / "heartbeats" / "w").exists()

    def test_makes_no_ledger_s_folder_where_the_storage_is_gone(self, folder):
        folder.rmdir()
        Heart(folder, "w").beat()
        assert not folder.exists()

    def test_tells_when_others_may_have_held_it_for_dead(self, folder, monkeypatch):
        clock = Clock()
        monkeypatch.setattr(heartbeat, "_now", clock)
        heart = Heart(folder, "w", lease_s=10)
        clock.now += 9
        assert not heart.beat()
        clock.now += 11
        assert heart.beat()
        assert not heart.beat()

    def test_beats_on_its_own_until_the_block_ends(self, folder, monkeypatch):
        beats = threading.Semaphore(0)
        touch = os.utime

        def counted(path, *arguments, **options):
            touch(path, *arguments, **options)
            beats.release()

        heart = Heart(folder, "w")
        heart.beat()
        monkeypatch.setattr(os, "utime", counted)
        with heart.beating(0.001):
            for _ in range(5):
                assert beats.acquire(timeout=30)
        assert [thread for thread in threading.enumerate() if thread.name == "heartbeat"] == []
        with heart.beating(3600):  # a second time, as for the next trial
            pass

    def test_a_real_observer_tells_a_beating_heart_from_a_silent_one(self, folder):
        observer = Observer(Path(folder), lease_s=0.2)
        Heart(folder, "silent").beat()
        with Heart(folder, "beating") as heart, heart.beating(0.01):
            deadline = time.monotonic() + 30
            while observer.dead() != {"silent"} or observer.alive() != {"beating"}:
                assert time.monotonic() < deadline, (observer.dead(), observer.alive())
                observer.look(["silent", "beating"])
                threading.Event().wait(0.02)

    def test_warns_once_when_it_has_failed_for_half_a_lease(self, folder, monkeypatch, caplog):
        clock = Clock()
        monkeypatch.setattr(heartbeat, "_now", clock)
        heart = Heart(folder, "w", lease_s=10)
        for _ in range(2):  # each outage is an episode of its own
            caplog.clear()
            (folder / "heartbeats").write_text("a file where the folder should be")
            clock.now += 4
            assert not heart.beat()
            assert not caplog.records
            for _ in range(3):
                clock.now += 1
                assert heart.beat(), "the claim is in doubt"
            (warning,) = caplog.records
            assert "no heartbeat could be written for 5 s" in warning.getMessage()
            (folder / "heartbeats").unlink()
            assert not heart.beat()
            (folder / "heartbeats" / "w").unlink()
            (folder / "heartbeats").rmdir()

    def test_goes_on_when_the_check_of_the_claim_raises(self, folder, caplog):
        looks = threading.Semaphore(0)

        def look(in_doubt):
            looks.release()
            raise RuntimeError("a defect")

        with Heart(folder, "w") as heart, heart.beating(0.001, look):
            for _ in range(3):
                assert looks.acquire(timeout=30)
        assert "a defect" in caplog.text
