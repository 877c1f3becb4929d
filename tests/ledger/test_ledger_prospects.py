"""Who gets no trial though there are some: who has no time for it, and whose trials alone fail."""

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
    sql,
)

from dahps_core.ledger import Ledger
from dahps_core.model.records import Claim, Draw, TrialState


@pytest.fixture
def ledger(folder):
    with Ledger.join(folder, grid(*range(300))) as ledger:
        yield ledger


def finish_with_durations(ledger, folder, durations):
    """Finished trials that took so many seconds, oldest first."""
    worker = register(ledger)
    claims = [claimed(ledger, worker) for _ in durations]
    for claim, seconds in zip(claims, durations, strict=True):
        sql(folder, "UPDATE trial SET started_at = 0 WHERE number = ?", claim.number)
        finish(ledger, claim)
        sql(folder, "DROP TRIGGER finished_is_final")
        sql(folder, "UPDATE trial SET ended_at = ? WHERE number = ?", seconds, claim.number)
        ledger.close()
        sql(
            folder,
            "CREATE TRIGGER finished_is_final BEFORE UPDATE ON trial WHEN OLD.state = 'finished'\n"
            "BEGIN SELECT RAISE(ABORT, 'a finished trial never changes'); END",
        )


class TestTimeLeft:
    def test_who_has_less_than_a_trial_takes_leaves(self, ledger):
        worker = register(ledger)
        held = claimed(ledger, worker, time_left_s=100.0, trial_time_s=100.0)
        answer = ask(ledger, worker, time_left_s=99.0, trial_time_s=100.0, after=ending_of(held))
        assert answer is Draw.OUT_OF_TIME
        assert ledger.workers("run")[0].state == "left"
        assert record(ledger, 0).state is TrialState.FINISHED

    def test_while_nobody_knows_what_a_trial_takes_it_is_tried(self, ledger):
        worker = register(ledger)
        assert isinstance(ask(ledger, worker, time_left_s=0.001), Claim)
        assert isinstance(ask(ledger, worker, trial_time_s=100.0), Claim)
        fail(ledger, claimed(ledger, worker, time_left_s=0.001))
        assert isinstance(ask(ledger, worker, time_left_s=0.001), Claim)

    @pytest.mark.parametrize(
        ("durations", "usual_s"),
        [
            ([10.0], 10.0),
            ([1.0, 50.0, 3.0], 3.0),
            ([-3600.0, 10.0, -3600.0], 10.0),  # a clock was set back
            ([500.0] * 20 + [10.0] * 101, 10.0),
        ],
    )
    def test_otherwise_as_long_as_the_last_finished_ones_in_the_middle(
        self, ledger, folder, durations, usual_s
    ):
        finish_with_durations(ledger, folder, durations)
        worker = register(ledger)
        assert isinstance(ask(ledger, worker, time_left_s=usual_s), Claim)
        assert ask(ledger, worker, time_left_s=usual_s - 0.01) is Draw.OUT_OF_TIME

    def test_what_the_user_says_counts_more_than_what_was_seen(self, ledger, folder):
        finish_with_durations(ledger, folder, [10.0])
        assert isinstance(ask(ledger, register(ledger), time_left_s=5.0, trial_time_s=4.0), Claim)

    def test_who_waits_leaves_when_its_time_is_up(self, ledger):
        holder, waiting = register(ledger), register(ledger)
        claim_all(ledger, holder, max_trials=2)
        limits = {"max_trials": 2, "trial_time_s": 10.0}
        assert ask(ledger, waiting, **limits, time_left_s=20.0) is Draw.WAIT
        assert ask(ledger, waiting, **limits, time_left_s=5.0) is Draw.OUT_OF_TIME
        assert ledger.workers("run")[-1].state == "left"


class TestProbation:
    """Trials fail on host `bad` in a row; `failing_since` is the first of them."""

    @pytest.fixture
    def failing(self, ledger):
        worker = register(ledger, host="bad")
        for _ in range(3):
            fail(ledger, claimed(ledger, worker))
        return worker

    def test_alone_it_goes_on(self, ledger, failing):
        claimed(ledger, register(ledger, host="bad"))
        claimed(ledger, register(ledger, host="good", run="other"))
        assert isinstance(ask(ledger, failing, failing_since=0), Claim)

    def test_it_waits_for_the_others_to_tell(self, ledger, failing):
        other = register(ledger, host="good")
        held = claimed(ledger, other)
        assert ask(ledger, failing, failing_since=0) is Draw.WAIT
        assert ask(ledger, failing, failing_since=0) is Draw.WAIT
        release(ledger, held)
        assert claimed(ledger, failing, failing_since=0).number == held.number

    def test_who_waits_so_is_not_relied_on(self, ledger, failing):
        holder, idle = register(ledger, host="good"), register(ledger, host="good")
        claimed(ledger, holder)
        assert ask(ledger, failing, failing_since=0) is Draw.WAIT
        assert ask(ledger, idle, max_trials=4, max_attempts=1, alive=[failing]) is Draw.WAIT

    def test_it_retires_if_trials_finish_elsewhere(self, ledger, failing):
        other = register(ledger, host="good")
        finish(ledger, claimed(ledger, other))
        assert ask(ledger, failing, failing_since=0) is Draw.RETIRED
        assert ledger.workers("run")[0].state == "left"

    def test_what_finished_before_tells_nothing(self, ledger):
        failing, other = register(ledger, host="bad"), register(ledger, host="good")
        finish(ledger, claimed(ledger, other))
        fail(ledger, claimed(ledger, failing))
        assert isinstance(ask(ledger, failing, failing_since=1), Claim)

    @pytest.mark.parametrize("edge", [fail, lose])
    def test_it_goes_on_if_trials_fail_elsewhere_too(self, ledger, failing, edge):
        other = register(ledger, host="good")
        first, second, _ = claimed(ledger, other), claimed(ledger, other), claimed(ledger, other)
        edge(ledger, first)
        assert isinstance(ask(ledger, failing, failing_since=0), Claim)
        finish(ledger, second)
        assert isinstance(ask(ledger, failing, failing_since=0), Claim)

    def test_nobody_waits_for_who_died(self, ledger, failing):
        silent = register(ledger, host="good")
        claimed(ledger, silent)
        assert ask(ledger, failing, failing_since=0) is Draw.WAIT
        assert isinstance(ask(ledger, failing, failing_since=0, dead=[silent]), Claim)


class TestReasons:
    def test_a_release_keeps_its_reason_through_the_next_attempt(self, ledger, folder):
        worker = register(ledger)
        ledger.release_if_held(
            claimed(ledger, worker), output_dir=None, error="SIGTERM: its job was told to end"
        )
        assert record(ledger, 0).error == "SIGTERM: its job was told to end"
        claimed(ledger, worker)
        ledger.retire(worker, "dahps stop --now")
        assert record(ledger, 0).error == "dahps stop --now"
        assert sql(folder, "SELECT outcome, error FROM attempt") == [
            ("released", "SIGTERM: its job was told to end")
        ]

    def lost(self, ledger, log, job="17_3"):
        silent, worker = register(ledger, host="n1", pid=1234, job=job, log=log), register(ledger)
        claimed(ledger, silent)
        claimed(ledger, worker, dead=[silent])
        return record(ledger, 0).error

    def test_a_lost_trial_tells_of_whom_it_was(self, ledger):
        assert self.lost(ledger, None, None) == (
            "its worker n1:1234 sent no heartbeat for longer than the lease"
        )

    def test_and_what_slurm_said_last_in_the_logs_of_its_job(self, ledger, tmp_path):
        said = [
            "slurmstepd: error: first",
            "srun: error: n1: task 0: Out Of Memory",
            "slurmstepd: error: Detected 1 oom_kill event in StepId=17.0.",
            "slurmstepd: error: *** STEP 17.0 ON n1 CANCELLED DUE TO NODE FAILURE ***",
        ]
        err, out = tmp_path / "17_3 log.err", tmp_path / "17_3 log.out"
        err.write_bytes(b"\xff\0 noise\n" * 5000 + "\nuser: slurmstepd: mine\n".join(said).encode())
        out.write_text("nothing of SLURM\n")
        told = self.lost(ledger, f"{err}\n{out}").splitlines()
        assert told == [
            f"its worker n1:1234 (job 17_3) sent no heartbeat for longer than the lease; log: {err}, {out}",
            *said[1:],
        ]

    @pytest.mark.parametrize("name", ["missing", "", "x" * 5000])
    def test_a_log_that_cannot_be_read_is_no_error(self, ledger, tmp_path, name):
        path = f"{tmp_path}/{name}"  # the folder itself, for the empty name
        assert self.lost(ledger, path).endswith(f"; log: {path}")
