"""What every claim, edge and reader of the ledger promises, on real SQLite."""

import math
import sqlite3
from contextlib import closing

import pytest
from ledger_support import (
    ask,
    assert_sound,
    claim_all,
    claimed,
    ending_of,
    fail,
    fill,
    finish,
    grid,
    lose,
    record,
    register,
    release,
    sql,
)

from dahps_core.errors import ClaimLost
from dahps_core.ledger import FILE_NAME, Ledger, Search
from dahps_core.ledger.sqlite import database
from dahps_core.model.records import Claim, Draw, TrialState

EDGES = [finish, fail, lose, release]


class TestOrderOfService:
    def test_new_trials_come_in_the_order_of_the_strategy_with_dense_numbers(self, ledger):
        claims, last = claim_all(ledger, register(ledger))
        assert [(claim.number, claim.combination["x"], claim.attempt) for claim in claims] == [
            (0, "a", 1),
            (1, "b", 1),
            (2, "c", 1),
            (3, "d", 1),
        ]
        assert last is Draw.WAIT

    def test_a_released_trial_comes_before_a_new_one_and_the_oldest_first(self, ledger):
        worker = register(ledger)
        first, second = claimed(ledger, worker), claimed(ledger, worker)
        release(ledger, second)
        release(ledger, first)
        again = [claimed(ledger, worker) for _ in range(3)]
        assert [claim.number for claim in again] == [0, 1, 2]
        assert [claim.attempt for claim in again] == [2, 2, 1]

    def test_failed_and_lost_trials_come_after_all_new_ones_by_number(self, ledger):
        worker, silent = register(ledger), register(ledger)
        claimed(ledger, silent)
        fail(ledger, claimed(ledger, worker))
        lose(ledger, claimed(ledger, worker))
        numbers = [claimed(ledger, worker, dead=[silent]).number for _ in range(4)]
        assert numbers == [3, 0, 1, 2]

    def test_a_trial_with_more_attempts_behind_it_keeps_its_place(self, ledger):
        worker = register(ledger)
        claims, _ = claim_all(ledger, worker)
        fail(ledger, claims[0])
        fail(ledger, claimed(ledger, worker, max_attempts=3))
        fail(ledger, claims[1])
        assert claimed(ledger, worker, max_attempts=3).number == 0

    def test_a_trial_runs_at_most_max_attempts_times(self, ledger):
        worker = register(ledger)
        claims, _ = claim_all(ledger, worker)
        for claim in claims[1:]:
            finish(ledger, claim)
        fail(ledger, claims[0])
        fail(ledger, claimed(ledger, worker, max_attempts=3))
        lose(ledger, claimed(ledger, worker, max_attempts=3))
        assert ask(ledger, worker, max_attempts=3) is Draw.EXHAUSTED
        assert claimed(ledger, worker, max_attempts=4).attempt == 4

    def test_a_released_attempt_does_not_count_against_max_attempts(self, ledger):
        worker = register(ledger)
        for _ in range(5):
            release(ledger, claimed(ledger, worker, max_attempts=1))
        assert claimed(ledger, worker, max_attempts=1).attempt == 6

    def test_max_trials_limits_the_new_ones_of_the_whole_ledger(self, ledger):
        one, other = register(ledger, run="one"), register(ledger, run="other")
        claimed(ledger, one, max_trials=3)
        claimed(ledger, other, max_trials=3)
        release(ledger, claimed(ledger, other, max_trials=3))
        assert claimed(ledger, one, max_trials=3).number == 2
        assert ask(ledger, one, max_trials=3) is Draw.WAIT
        assert claimed(ledger, other, max_trials=4).number == 3

    def test_repetitions_of_a_combination_are_trials_of_their_own(self, folder):
        search = grid("a", "a", "b", repetitions=2, check_unique=False)
        with Ledger.join(folder, search) as ledger:
            claims, _ = claim_all(ledger, register(ledger))
        assert [(claim.combination["x"], claim.repetition) for claim in claims] == [
            ("a", 0),
            ("a", 1),
            ("a", 2),
            ("a", 3),
            ("b", 0),
            ("b", 1),
        ]

    def test_values_that_python_holds_for_equal_are_trials_of_their_own(self, folder):
        with Ledger.join(folder, grid(1, True, 1.0, "1", None)) as ledger:
            claims, _ = claim_all(ledger, register(ledger))
        assert [repr(claim.combination["x"]) for claim in claims] == ["1", "True", "1.0", "'1'", "None"]


class TestLostTrials:
    def test_only_the_trials_of_dead_workers_are_claimed_again(self, ledger):
        dead, busy, worker = register(ledger), register(ledger), register(ledger)
        held = claimed(ledger, dead)
        claimed(ledger, busy)
        claim_all(ledger, worker)
        again = claimed(ledger, worker, dead=[dead])
        assert (again.number, again.attempt) == (0, 2)
        assert again.token != held.token
        assert ask(ledger, worker, dead=[dead]) is Draw.WAIT

    def test_a_trial_that_one_worker_holds_for_lost_waits_for_the_judgement_of_the_next(self, ledger):
        dead, first, second = (register(ledger) for _ in range(3))
        held = claimed(ledger, dead)
        claimed(ledger, first, dead=[dead])
        assert record(ledger, held.number).state is TrialState.LOST
        claim_all(ledger, second)
        assert ask(ledger, second) is Draw.WAIT
        assert claimed(ledger, second, dead=[dead]).number == held.number

    def test_a_late_finish_counts_until_the_trial_is_claimed_again(self, ledger):
        late, worker = register(ledger), register(ledger)
        held = claimed(ledger, late)
        claimed(ledger, worker, dead=[late])
        assert ledger.is_held(held)
        finish(ledger, held, metric=0.25)
        assert record(ledger, held.number).metric == 0.25
        assert record(ledger, held.number).error is None

    @pytest.mark.parametrize("edge", EDGES)
    def test_every_late_write_is_refused_after_that(self, ledger, edge):
        late, worker = register(ledger), register(ledger)
        held = claimed(ledger, late)
        claim_all(ledger, worker)
        again = claimed(ledger, worker, dead=[late])
        assert not ledger.is_held(held)
        with pytest.raises(ClaimLost, match="trial 0"):
            edge(ledger, held)
        assert ledger.is_held(again)
        finish(ledger, again, metric=0.75)
        assert record(ledger, 0).metric == 0.75

    def test_what_a_retiring_worker_still_holds_goes_to_the_next(self, ledger):
        worker, other = register(ledger), register(ledger)
        held = claimed(ledger, worker)
        ledger.retire(worker)
        assert not ledger.is_held(held)
        assert claimed(ledger, other).number == held.number


class TestEdges:
    @pytest.mark.parametrize("edge", EDGES)
    def test_an_edge_may_be_repeated_since_an_answer_may_get_lost(self, ledger, edge):
        worker = register(ledger)
        claim = claimed(ledger, worker, max_attempts=1)
        edge(ledger, claim)
        before = list(ledger.trials())
        edge(ledger, claim)
        assert list(ledger.trials()) == before

    @pytest.mark.parametrize("second", EDGES)
    @pytest.mark.parametrize("first", EDGES)
    def test_a_claim_ends_in_one_way_only(self, ledger, first, second):
        claim = claimed(ledger, register(ledger))
        first(ledger, claim)
        assert not ledger.is_held(claim)
        if first is not second:
            with pytest.raises(ClaimLost):
                second(ledger, claim)

    @pytest.mark.parametrize(
        ("edge", "state"),
        [
            (finish, TrialState.FINISHED),
            (fail, TrialState.FAILED),
            (lose, TrialState.LOST),
            (release, TrialState.RELEASED),
        ],
    )
    def test_each_edge_leads_to_its_state(self, ledger, edge, state):
        edge(ledger, claimed(ledger, register(ledger)))
        counts = ledger.counts()
        assert counts.pop(state) == 1
        assert set(counts.values()) == {0}

    def test_a_token_of_nobody_is_refused(self, ledger):
        claim = claimed(ledger, register(ledger))
        forged = Claim(claim.number, claim.attempt, "forged", claim.combination, claim.repetition)
        with pytest.raises(ClaimLost):
            finish(ledger, forged)


class TestAnEndAndAClaimInOne:
    @pytest.mark.parametrize(
        ("outcome", "next_one"), [("finished", 1), ("failed", 1), ("died", 1), ("released", 0)]
    )
    def test_the_end_is_recorded_and_the_next_trial_claimed(self, ledger, outcome, next_one):
        worker = register(ledger)
        claim = claimed(ledger, worker)
        again = claimed(ledger, worker, after=ending_of(claim, outcome))
        assert again.number == next_one
        assert not ledger.is_held(claim)
        assert ledger.is_held(again)
        state = {"died": "lost", "released": "running"}.get(outcome, outcome)
        assert record(ledger, 0).state.value == state

    def test_the_last_end_is_recorded_although_nothing_is_left(self, ledger):
        worker = register(ledger)
        claim = claimed(ledger, worker)
        assert ask(ledger, worker, max_trials=1, after=ending_of(claim)) is Draw.EXHAUSTED
        assert record(ledger, 0).state is TrialState.FINISHED

    def test_an_end_counts_for_what_the_worker_is_told(self, ledger):
        worker = register(ledger)
        limits = {"max_attempts": 1, "stop_after_failures": 2}
        first = claimed(ledger, worker, **limits)
        second = claimed(ledger, worker, **limits, after=ending_of(first, "failed"))
        assert ask(ledger, worker, **limits, after=ending_of(second, "failed")) is Draw.FAILING

    def test_whoever_lost_its_claim_gets_no_other_by_it(self, ledger):
        zombie, other = register(ledger), register(ledger)
        lost = claimed(ledger, zombie)
        held = claimed(ledger, other, max_trials=1, dead=[zombie])
        with pytest.raises(ClaimLost):
            ask(ledger, zombie, after=ending_of(lost))
        assert ledger.n_drawn == 1
        assert ledger.is_held(held)
        finish(ledger, held)

    def test_an_answer_that_got_lost_is_given_again(self, ledger, monkeypatch):
        worker = register(ledger)
        claim = claimed(ledger, worker)
        commit_and_fail_once(monkeypatch)
        again = claimed(ledger, worker, after=ending_of(claim))
        assert again.number == 1
        assert ledger.n_drawn == 2
        assert ledger.is_held(again)
        assert record(ledger, 0).metric == 0.5


def commit_and_fail_once(monkeypatch):
    """The storage fails when a transaction has been kept, and its answer is on the way."""
    change = database.Transaction.change
    failures = iter([sqlite3.OperationalError("disk I/O error")])

    def failing(self, query, **parameters):
        changed = change(self, query, **parameters)
        if query == "commit" and (failure := next(failures, None)):
            raise failure
        return changed

    monkeypatch.setattr(database.Transaction, "change", failing)


class TestWhatAnIdleWorkerIsTold:
    def test_exhausted_when_nothing_can_come_any_more(self, ledger):
        worker = register(ledger)
        claims, _ = claim_all(ledger, worker)
        for claim in claims:
            finish(ledger, claim)
        assert ask(ledger, worker) is Draw.EXHAUSTED

    def test_exhausted_although_a_lost_trial_has_no_attempts_left(self, ledger):
        silent, worker = register(ledger), register(ledger)
        claimed(ledger, silent, max_attempts=1)
        claims, _ = claim_all(ledger, worker, max_attempts=1)
        for claim in claims:
            finish(ledger, claim)
        assert ask(ledger, worker, max_attempts=1) is Draw.WAIT
        assert ask(ledger, worker, max_attempts=1, dead=[silent]) is Draw.EXHAUSTED

    def test_leave_only_when_another_one_waits_and_is_seen_to_be_alive(self, ledger):
        busy, waiting, idle = (register(ledger) for _ in range(3))
        for _ in range(4):
            claimed(ledger, busy)
        assert ask(ledger, waiting) is Draw.WAIT
        assert ask(ledger, idle) is Draw.WAIT
        assert ask(ledger, idle, alive=[busy]) is Draw.WAIT
        assert ask(ledger, idle, alive=[busy, waiting]) is Draw.LEAVE

    def test_of_two_that_see_each_other_one_stays(self, ledger):
        busy, one, other = (register(ledger) for _ in range(3))
        for _ in range(4):
            claimed(ledger, busy)
        ask(ledger, one)
        ask(ledger, other)
        answers = [ask(ledger, one, alive=[busy, other]), ask(ledger, other, alive=[busy, one])]
        assert answers == [Draw.LEAVE, Draw.WAIT]

    def test_as_many_wait_as_trials_may_have_lost_their_workers(self, ledger):
        silent = [register(ledger) for _ in range(2)]
        held = [claimed(ledger, worker) for worker in silent]
        idle = [register(ledger) for _ in range(3)]
        for claim in [claimed(ledger, worker) for worker in idle[:2]]:
            finish(ledger, claim)
        assert len(held) == 2
        answers = [ask(ledger, worker, alive=idle) for worker in idle]
        assert answers == [Draw.WAIT, Draw.WAIT, Draw.LEAVE]

    def test_a_worker_that_waits_gets_what_comes_back(self, ledger):
        busy, waiting = register(ledger), register(ledger)
        claims, _ = claim_all(ledger, busy)
        assert ask(ledger, waiting) is Draw.WAIT
        assert ask(ledger, waiting) is Draw.WAIT
        release(ledger, claims[2])
        assert claimed(ledger, waiting).number == 2

    def test_a_worker_that_works_again_waits_no_more(self, ledger):
        busy, one, other = (register(ledger) for _ in range(3))
        claims, _ = claim_all(ledger, busy)
        ask(ledger, one)
        release(ledger, claims[2])
        claimed(ledger, one)
        assert ask(ledger, other, alive=[one]) is Draw.WAIT

    def test_one_that_died_waiting_is_watched_no_more_and_may_wait_again(self, ledger):
        busy, silent, waiting = (register(ledger) for _ in range(3))
        for _ in range(4):
            claimed(ledger, busy)
        assert [ask(ledger, silent), ask(ledger, waiting)] == [Draw.WAIT, Draw.WAIT]
        assert ask(ledger, waiting, dead=[silent]) is Draw.WAIT
        assert set(ledger.watched_workers(max_attempts=2)) == {busy, waiting}
        assert ask(ledger, silent) is Draw.WAIT
        assert set(ledger.watched_workers(max_attempts=2)) == {busy, waiting, silent}

    def test_waiting_again_only_reads_so_it_hinders_no_writer(self, folder):
        with Ledger.join(folder, grid("a"), patience_s=0.01) as ledger:
            busy, waiting = register(ledger), register(ledger)
            claim_all(ledger, busy)
            ask(ledger, waiting)
            with closing(sqlite3.connect(folder / FILE_NAME, isolation_level=None)) as writer:
                writer.execute("BEGIN IMMEDIATE")
                assert [ask(ledger, waiting, dead=["x"], alive=["y"]) for _ in range(3)] == [Draw.WAIT] * 3

    def test_it_is_told_whom_to_watch(self, ledger):
        holder, lost_holder, waiting, done = (register(ledger) for _ in range(4))
        claimed(ledger, lost_holder)
        claimed(ledger, holder, dead=[lost_holder])
        finish(ledger, claimed(ledger, done))
        claim_all(ledger, holder)
        ask(ledger, waiting)
        assert set(ledger.watched_workers(max_attempts=2)) == {holder, lost_holder, waiting}
        assert set(ledger.watched_workers(max_attempts=1)) == {holder, waiting}, (
            "a lost trial is lost for good"
        )


class TestStopping:
    def test_a_run_whose_first_trials_all_fail_is_stopped(self, ledger):
        worker = register(ledger)
        for _ in range(2):
            fail(ledger, claimed(ledger, worker, stop_after_failures=3))
        lose(ledger, claimed(ledger, worker, stop_after_failures=3))
        assert ask(ledger, worker, stop_after_failures=3) is Draw.FAILING
        assert ask(ledger, register(ledger), stop_after_failures=3) is Draw.FAILING

    def test_another_run_starts_counting_anew(self, ledger):
        fail(ledger, claimed(ledger, register(ledger, run="first")))
        assert claimed(ledger, register(ledger, run="second"), stop_after_failures=1).number == 1

    def test_one_success_shows_that_the_search_can_work(self, ledger):
        worker, other = register(ledger), register(ledger)
        finish(ledger, claimed(ledger, other, stop_after_failures=1))
        fail(ledger, claimed(ledger, worker, stop_after_failures=1))
        assert isinstance(ask(ledger, worker, stop_after_failures=1), Claim)

    def test_a_dead_worker_is_no_failure_of_the_search(self, ledger):
        silent, worker = register(ledger), register(ledger)
        claimed(ledger, silent)
        assert isinstance(ask(ledger, worker, stop_after_failures=1, dead=[silent]), Claim)


class TestReading:
    def test_a_record_tells_all_of_the_last_attempt(self, ledger):
        first = register(ledger, host="node1", pid=7)
        second = register(ledger, host="node2", pid=8, job="123_4")
        fail(ledger, claimed(ledger, first), error="Traceback: boom")
        failed = record(ledger, 0)
        assert (failed.state, failed.error, failed.worker) == (
            TrialState.FAILED,
            "Traceback: boom",
            "node1:7",
        )
        claims, _ = claim_all(ledger, second)
        again = claims[-1]
        running = record(ledger, 0)
        assert (running.state, running.error, running.ended_at) == (TrialState.RUNNING, None, None)
        finish(ledger, again, metric=0.5, result={"loss": 0.5, "accuracy": 1}, output_dir="multirun/0")
        trial = record(ledger, 0)
        assert (trial.number, trial.combination, trial.repetition) == (0, again.combination, 0)
        assert (trial.state, trial.attempts, trial.metric) == (TrialState.FINISHED, 2, 0.5)
        assert trial.result == {"loss": 0.5, "accuracy": 1}
        assert (trial.output_dir, trial.error) == ("multirun/0", None)
        assert "node2:8" in trial.worker
        assert "123_4" in trial.worker
        assert trial.started_at <= trial.ended_at

    @pytest.mark.parametrize("metric", [math.nan, math.inf, -math.inf, 0.1, 5e-324, -1.7e308, None])
    def test_a_metric_comes_back_as_it_was(self, ledger, metric):
        finish(ledger, claimed(ledger, register(ledger)), metric=metric, result={"m": metric})
        trial = record(ledger, 0)
        assert repr(trial.metric) == repr(metric)
        assert repr(trial.result) == repr({"m": metric})

    @pytest.mark.parametrize(
        ("direction", "metrics", "winner"),
        [
            ("minimize", [0.5, 0.25, 0.75], 1),
            ("maximize", [0.5, 0.25, 0.75], 2),
            ("minimize", [math.nan, None, 3.0], 2),
            ("maximize", [math.nan, None, -3.0], 2),
            ("minimize", [0.0, -math.inf, math.nan], 1),
            ("maximize", [-math.inf, math.nan, None], 0),
            ("minimize", [1.0, 0.5, 0.5], 1),
            ("maximize", [0.5, 1.0, 1.0], 1),
            ("minimize", [math.nan, None, math.nan], None),
        ],
    )
    def test_the_best_trial(self, folder, direction, metrics, winner):
        search = Search(grid("a", "b", "c").space, strategy="grid", direction=direction)
        with Ledger.join(folder, search) as ledger:
            claims, _ = claim_all(ledger, register(ledger))
            assert ledger.best() is None
            for claim, metric in reversed(list(zip(claims, metrics, strict=True))):
                finish(ledger, claim, metric=metric)
            best = ledger.best()
            assert (best and best.number) == winner

    def test_trials_are_read_over_many_pages(self, ledger, folder):
        fill(folder, 2500, "failed")
        assert [trial.number for trial in ledger.trials()] == list(range(2500))
        assert [trial.number for trial in ledger.trials(2400)] == list(range(2400, 2500))
        assert ledger.counts()[TrialState.FAILED] == ledger.n_drawn == 2500

    def test_whatever_a_traceback_or_a_path_holds_is_kept(self, ledger):
        claim = claimed(ledger, register(ledger))
        ledger.fail_if_held(claim, error="caf\udce9 \0 🙂 'x'; --", output_dir="/caf\udce9")
        assert record(ledger, 0).error == "caf\\udce9 \0 🙂 'x'; --"
        assert record(ledger, 0).output_dir == "/caf\\udce9"

    def test_a_run_tells_its_workers_outcomes_and_first_failure(self, ledger):
        worker, other = register(ledger, run="mine", pid=5), register(ledger, run="theirs")
        finish(ledger, claimed(ledger, other))
        assert ledger.run("mine").first_failure is None
        fail(ledger, claimed(ledger, worker), error="the first")
        lose(ledger, claimed(ledger, worker))
        run = ledger.run("mine")
        assert (run.first_failure, run.n_failed, run.has_finished) == ((1, "the first"), 2, False)
        assert ledger.run("theirs").has_finished
        assert ledger.run("nobody's").n_failed == 0
        assert [(found.id, found.pid, found.state) for found in ledger.workers("mine")] == [
            (worker, 5, "working")
        ]
        ledger.retire(worker)
        assert ledger.workers("mine")[0].state == "left"

    def test_what_remains_goes_down_to_nothing(self, ledger):
        worker = register(ledger)
        assert ledger.remaining(None, 2) == 4
        assert ledger.remaining(3, 2) == 3
        first = claimed(ledger, worker)
        assert ledger.remaining(None, 2) == 4
        finish(ledger, first)
        assert ledger.remaining(None, 2) == 3
        fail(ledger, claimed(ledger, worker))
        lose(ledger, claimed(ledger, worker))
        finish(ledger, claimed(ledger, worker))
        assert ledger.remaining(None, 2) == 2
        assert ledger.remaining(None, 1) == 0

    def test_a_checkpoint_folder_is_the_trial_s_for_all_attempts(self, ledger, folder):
        assert ledger.checkpoint_dir(3) == folder / "checkpoints" / "3"


ATTEMPT = "INSERT INTO attempt (trial, attempt, token, worker, started_at, ended_at, outcome, result)"
STANDING = "INSERT INTO standing (trial, bracket, level, score, is_top, is_promoted)"


class TestTheSchemaRefuses:
    """The second lock: whatever a defect of the program would write."""

    @pytest.fixture
    def finished(self, ledger, folder):
        finish(ledger, claimed(ledger, register(ledger)))
        claimed(ledger, register(ledger))
        return folder

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE trial SET metric = 1 WHERE number = 0",
            "UPDATE trial SET state = 'failed' WHERE number = 0",
            "DELETE FROM trial WHERE number = 1",
            "UPDATE trial SET state = 'asleep' WHERE number = 1",
            "UPDATE trial SET token = NULL WHERE number = 1",
            "UPDATE trial SET state = 'failed' WHERE number = 1",
            "UPDATE trial SET metric = 1 WHERE number = 1",
            "UPDATE trial SET state = 'finished', ended_at = 1 WHERE number = 1",
            "UPDATE trial SET charged = -1 WHERE number = 1",
            "UPDATE trial SET charged = 2 WHERE number = 1",
            "UPDATE trial SET worker = 'nobody' WHERE number = 1",
            "INSERT INTO trial (number, space, position, combination, digest, repetition, state, attempts,"
            " charged, token, worker, started_at, ended_at)"
            " SELECT 2, space, 9, combination, digest, repetition, 'released',"
            " 1, 0, 'new', worker, 0, 1 FROM trial WHERE number = 1",
            f"{ATTEMPT} SELECT number, 1, token, worker, 0, NULL, 'lost', NULL FROM trial",
            f"{ATTEMPT} SELECT number, 1, token, worker, 0, 1, 'finished', NULL FROM trial",
            f"{ATTEMPT} SELECT number, 1, token, worker, 0, 1, 'lost', '0.5' FROM trial",
            f"{ATTEMPT} SELECT number, x, token, worker, 0, 1, 'lost', NULL"
            " FROM trial, (SELECT 1 AS x UNION ALL SELECT 1) WHERE number = 1",
            "UPDATE trial SET state = 'running', level = 1, result = NULL, metric = NULL WHERE number = 0",
            "UPDATE trial SET level = -1 WHERE number = 1",
            f"{STANDING} SELECT 0, 0, 0, NULL, 1, 0",
            f"{STANDING} SELECT 0, 0, 0, 0.5, 0, 2",
            f"{STANDING} SELECT 0, 0, 0, 0.5, 0, 0",
            "INSERT INTO rung (bracket, level, n_ended, n_promoted) VALUES (0, 0, 1, 2)",
            "INSERT INTO rung (bracket, level, n_ended) VALUES (1, 0, 1)",
            "UPDATE worker SET state = 'left'",
            "UPDATE worker SET run = 'nobody'",
            "UPDATE run SET n_failed = -1",
            "UPDATE space SET cursor = -1",
            "INSERT INTO meta (id, created_at, strategy, direction, seed, locking)"
            " SELECT 2, created_at, strategy, direction, seed, locking FROM meta",
            "UPDATE meta SET locking = 'none'",
        ],
    )
    def test_nonsense(self, finished, statement):
        with pytest.raises(sqlite3.IntegrityError):
            sql(finished, statement)
        assert_sound(finished)
