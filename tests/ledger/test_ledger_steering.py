"""What a person says to a search that runs, and what its workers are told then."""

import shutil
import sqlite3
from contextlib import closing

import pytest
from ledger_support import (
    ask,
    claim_all,
    claimed,
    ending_of,
    fail,
    finish,
    grid,
    lose,
    record,
    register,
    release,
    unsound,
)

from dahps_core.errors import ClaimLost, ConfigurationError
from dahps_core.ledger import FILE_NAME, Ledger
from dahps_core.ledger.folder.control_stamp import FILE_NAME as NOTICES
from dahps_core.ledger.folder.control_stamp import give_notice
from dahps_core.model.records import Claim, Draw, TrialState


@pytest.fixture(params=["fcntl", "folder"])
def locking(request):
    return request.param


@pytest.fixture
def ledger(folder, locking):
    """A ledger of four trials, with each way of locking; sound in the end, whatever a test did with it."""
    with Ledger.join(folder, grid("a", "b", "c", "d"), locking=locking) as ledger:
        yield ledger
    assert unsound(folder) == []


def x_of(claims):
    return [claim.combination["x"] for claim in claims]


class TestPause:
    def test_nobody_is_served_until_the_search_is_resumed(self, ledger):
        worker = register(ledger)
        held = claimed(ledger, worker)
        release(ledger, claimed(ledger, register(ledger)))
        ledger.pause()
        ledger.pause()
        assert ask(ledger, worker, after=ending_of(held)) is Draw.PAUSED
        assert ledger.is_paused()
        assert ledger.counts()[TrialState.FINISHED] == 1
        ledger.resume()
        ledger.resume()
        assert claimed(ledger, worker).number == 1
        assert not ledger.is_paused()

    def test_a_paused_worker_only_reads_so_it_hinders_no_writer(self, folder):
        with Ledger.join(folder, grid("a"), patience_s=0.01) as ledger:
            worker = register(ledger)
            ledger.pause()
            assert ask(ledger, worker) is Draw.PAUSED
            with closing(sqlite3.connect(folder / FILE_NAME, isolation_level=None)) as writer:
                writer.execute("BEGIN IMMEDIATE")
                assert [ask(ledger, worker, dead=["x"]) for _ in range(3)] == [Draw.PAUSED] * 3

    def test_what_a_dead_worker_held_is_seen_during_the_pause(self, ledger):
        silent, worker = register(ledger), register(ledger)
        claimed(ledger, silent)
        ledger.pause()
        assert ask(ledger, worker) is Draw.PAUSED
        assert ask(ledger, worker, dead=[silent]) is Draw.PAUSED
        assert record(ledger, 0).state is TrialState.LOST


class TestStop:
    def test_all_multiruns_that_are_there_end_and_later_ones_do_not(self, ledger):
        first, second = register(ledger, run="first"), register(ledger, run="second")
        held = claimed(ledger, first)
        ledger.stop()
        assert ask(ledger, first, after=ending_of(held)) is Draw.STOPPED
        assert ask(ledger, second) is Draw.STOPPED
        assert record(ledger, 0).state is TrialState.FINISHED
        assert claimed(ledger, register(ledger, run="third")).number == 1

    def test_workers_that_were_queued_end_when_they_start(self, ledger):
        ledger.enter_run("queued", "/runs/queued")
        ledger.stop()
        worker = ledger.register("queued", "host", 1, None, run_folder="/runs/queued")
        assert ask(ledger, worker) is Draw.STOPPED
        assert [str(folder) for folder in ledger.run_folders()] == ["/runs/queued"]

    def test_one_multirun_alone(self, ledger):
        mine, theirs = register(ledger, run="mine"), register(ledger, run="theirs")
        ledger.stop(run="mine")
        assert ask(ledger, mine) is Draw.STOPPED
        assert isinstance(ask(ledger, theirs), Claim)
        with pytest.raises(ConfigurationError, match="no such multirun"):
            ledger.stop(run="nobody's")

    def test_only_now_releases_what_runs_and_it_is_not_taken_back(self, ledger):
        worker, later = register(ledger), register(ledger, run="later")
        ledger.stop(run="run")
        assert not ledger.is_to_release(worker)
        ledger.stop(run="run", now=True)
        ledger.stop(run="run")
        assert ledger.is_to_release(worker)
        assert not ledger.is_to_release(later)

    def test_who_waits_or_is_paused_is_stopped_too(self, ledger):
        holder, waiting = register(ledger, run="other"), register(ledger)
        claim_all(ledger, holder)
        assert ask(ledger, waiting) is Draw.WAIT
        ledger.pause()
        assert ask(ledger, waiting) is Draw.PAUSED
        ledger.stop()
        assert ask(ledger, waiting) is Draw.STOPPED


class TestCancel:
    @pytest.mark.parametrize("edge", [finish, fail, lose, release])
    def test_the_holder_of_a_cancelled_trial_holds_it_no_more(self, ledger, edge):
        worker = register(ledger)
        claim = claimed(ledger, worker)
        assert ledger.cancel(0) == [TrialState.RUNNING]
        assert not ledger.is_held(claim)
        with pytest.raises(ClaimLost, match="trial 0"):
            edge(ledger, claim)
        ledger.retire(worker)
        assert record(ledger, 0).state is TrialState.CANCELLED

    @pytest.mark.parametrize(
        ("edge", "was"),
        [(fail, TrialState.FAILED), (lose, TrialState.LOST), (release, TrialState.RELEASED)],
    )
    def test_what_would_run_again_does_not(self, ledger, edge, was):
        worker = register(ledger)
        edge(ledger, claimed(ledger, worker))
        assert ledger.cancel(0) == [was]
        assert ledger.cancel(0) == [TrialState.CANCELLED]
        claims, _ = claim_all(ledger, worker)
        assert [claim.number for claim in claims] == [1, 2, 3]
        for claim in claims:
            finish(ledger, claim)
        assert ask(ledger, worker) is Draw.EXHAUSTED
        assert ledger.remaining(None, 9) == 0
        assert ledger.counts()[TrialState.CANCELLED] == 1

    def test_the_late_word_of_a_silent_worker_does_not_count(self, ledger):
        late, worker = register(ledger), register(ledger)
        held = claimed(ledger, late)
        claimed(ledger, worker, dead=[late])
        assert ledger.cancel(0) == [TrialState.LOST]
        with pytest.raises(ClaimLost):
            finish(ledger, held)

    def test_all_or_none_and_each_fault_is_told(self, ledger):
        worker = register(ledger)
        finish(ledger, claimed(ledger, worker))
        claimed(ledger, worker)
        with pytest.raises(ConfigurationError, match=r"trial 0 is finished.*trial 7 was never drawn") as told:
            ledger.cancel(1, 0, 7)
        assert "Nothing was changed" in str(told.value)
        assert record(ledger, 1).state is TrialState.RUNNING
        for number in (-1, 2**70):
            with pytest.raises(ConfigurationError, match="never drawn"):
                ledger.cancel(number)

    def test_its_record_tells_the_last_attempt(self, ledger):
        fail(ledger, claimed(ledger, register(ledger, host="node", pid=3, job="7")), error="boom")
        ledger.cancel(0)
        trial = record(ledger, 0)
        assert (trial.error, trial.worker, trial.output_dir) == ("boom", "node:3 job 7", "out")
        assert trial.started_at <= trial.ended_at


class TestRetry:
    @pytest.mark.parametrize("edge", [fail, lose])
    def test_it_runs_next_and_what_was_charged_is_pardoned(self, ledger, edge):
        worker = register(ledger)
        for _ in range(2):
            edge(ledger, claimed(ledger, worker, max_trials=1))
        assert ask(ledger, worker, max_trials=1) is Draw.EXHAUSTED
        ledger.retry(0)
        assert record(ledger, 0).state is TrialState.QUEUED
        assert ledger.remaining(1, 2) == 1
        for attempt in (3, 4):
            again = claimed(ledger, worker, max_trials=1)
            assert (again.number, again.attempt) == (0, attempt)
            edge(ledger, again)
        assert ask(ledger, worker, max_trials=1) is Draw.EXHAUSTED

    def test_after_released_ones_and_before_new_ones(self, ledger):
        worker = register(ledger)
        first, second = claimed(ledger, worker), claimed(ledger, worker)
        fail(ledger, first)
        release(ledger, second)
        ledger.retry(0)
        assert [claimed(ledger, worker).number for _ in range(3)] == [1, 0, 2]

    def test_a_cancelled_trial_runs_after_all(self, ledger):
        worker = register(ledger)
        claimed(ledger, worker)
        ledger.cancel(0)
        assert ledger.retry(0) == [TrialState.CANCELLED]
        assert ledger.retry(0) == [TrialState.QUEUED]
        again = claimed(ledger, worker)
        assert (again.number, again.attempt) == (0, 2)
        finish(ledger, again)

    def test_a_lost_trial_is_not_waited_for_any_more(self, ledger):
        late, worker = register(ledger), register(ledger)
        held = claimed(ledger, late)
        claimed(ledger, worker, dead=[late])
        ledger.retry(0)
        with pytest.raises(ClaimLost):
            finish(ledger, held)
        assert claimed(ledger, worker).number == 0

    def test_all_failed_ones(self, ledger):
        worker = register(ledger)
        claims, _ = claim_all(ledger, worker)
        for claim, edge in zip(claims, (fail, lose, release, finish), strict=True):
            edge(ledger, claim)
        assert ledger.retry_failed() == [0, 1]
        assert ledger.retry_failed() == []
        assert [claimed(ledger, worker).number for _ in range(3)] == [2, 0, 1]

    def test_what_cannot_be_retried_is_told(self, ledger):
        worker = register(ledger)
        finish(ledger, claimed(ledger, worker))
        held = claimed(ledger, worker)
        with pytest.raises(ConfigurationError, match="trial 0 is finished"):
            ledger.retry(0)
        with pytest.raises(ConfigurationError, match="trial 1 is running; trial 2 was never drawn"):
            ledger.retry(1, 2)
        release(ledger, held)
        with pytest.raises(ConfigurationError, match="trial 1 is released; it is next"):
            ledger.retry(1)


class TestEnqueue:
    def test_it_is_next_and_is_not_drawn_again(self, ledger):
        worker = register(ledger)
        claimed(ledger, worker)
        (trial,) = ledger.enqueue([{"x": "c"}])
        assert (trial.number, trial.state) == (1, TrialState.QUEUED)
        assert record(ledger, 1).worker is None
        assert record(ledger, 1).started_at is None
        claims, last = claim_all(ledger, worker)
        assert x_of(claims) == ["c", "b", "d"]
        assert [(claim.number, claim.attempt) for claim in claims] == [(1, 1), (2, 1), (3, 1)]
        assert last is Draw.WAIT

    def test_what_was_drawn_is_told_and_not_run_twice(self, ledger):
        worker = register(ledger)
        finish(ledger, claimed(ledger, worker))
        ledger.enqueue([{"x": "c"}])
        told = ledger.enqueue([{"x": "a"}, {"x": "c"}, {"x": "d"}])
        assert [(trial.number, trial.state.value) for trial in told] == [
            (0, "finished"),
            (1, "queued"),
            (2, "queued"),
        ]
        assert ledger.n_drawn == 3

    def test_a_person_may_ask_for_more_than_max_trials(self, ledger):
        worker = register(ledger)
        finish(ledger, claimed(ledger, worker, max_trials=1))
        ledger.enqueue([{"x": "d"}])
        assert ledger.remaining(1, 2) == 1
        finish(ledger, claimed(ledger, worker, max_trials=1))
        assert ask(ledger, worker, max_trials=1) is Draw.EXHAUSTED

    def test_all_repetitions_of_a_combination(self, folder):
        with Ledger.join(folder, grid("a", "b", repetitions=3)) as ledger:
            worker = register(ledger)
            claimed(ledger, worker)
            assert [trial.number for trial in ledger.enqueue([{"x": "b"}, {"x": "a"}])] == [1, 2, 3, 0, 4, 5]
            claims, _ = claim_all(ledger, worker)
            assert [(claim.combination["x"], claim.repetition) for claim in claims] == [
                *(("b", 0), ("b", 1), ("b", 2)),
                *(("a", 1), ("a", 2)),
            ]
        assert unsound(folder) == []

    def test_only_whole_combinations_of_the_space(self, ledger):
        for wrong in ({"x": "e"}, {}, {"x": "a", "y": 1}, {"x": ["a"]}):
            with pytest.raises(ConfigurationError, match="Nothing was queued"):
                ledger.enqueue([{"x": "a"}, wrong])
        assert ledger.n_drawn == 0

    def test_too_many_at_once(self, folder):
        with Ledger.join(folder, grid("a", repetitions=10**9)) as ledger:
            with pytest.raises(ConfigurationError, match="at once"):
                ledger.enqueue([{"x": "a"}])
            assert ledger.n_drawn == 0

    def test_into_an_extended_space(self, ledger, folder, locking):
        ledger.enqueue([{"x": "d"}])
        with Ledger.join(folder, grid(*"abcdef"), on_change="extend", locking=locking) as more:
            assert [trial.number for trial in more.enqueue([{"x": "f"}, {"x": "d"}])] == [1, 0]
            claims, _ = claim_all(more, register(more))
            assert x_of(claims) == ["d", "f", "a", "b", "c", "e"]


class TestNotice:
    def test_each_word_is_a_new_stamp_and_each_reader_sees_it(self, ledger, folder, locking):
        with Ledger.join(folder, grid("a", "b", "c", "d"), locking=locking) as other:
            assert other.notice() is None
            claimed(ledger, register(ledger))
            stamps = []
            for say in (ledger.pause, ledger.resume, ledger.stop, lambda: ledger.cancel(0), ledger.pause):
                say()
                stamps.append(other.notice())
            assert len(set(stamps)) == 5
            assert other.notice() == stamps[-1]

    def test_two_in_one_tick_of_the_storage_s_clock_are_two(self, folder):
        with Ledger.join(folder, grid("a")) as ledger:
            stamps = [give_notice(folder) or ledger.notice() for _ in range(50)]
        assert len(set(stamps)) == 50

    def test_where_the_storage_refuses_nothing_new_is_seen(self, folder):
        with Ledger.join(folder, grid("a")) as ledger:
            ledger.pause()
            stamp = ledger.notice()
            (folder / NOTICES).unlink()
            (folder / NOTICES).symlink_to(NOTICES)  # a loop, which the system refuses to follow
            assert ledger.notice() == stamp
            shutil.rmtree(folder)
            assert ledger.notice() is None
