"""Scripts of several ranks under a real torchrun: claims, failures, signals, and elastic restarts."""

import os
import signal

import pytest

from dahps_core.model.records import TrialState
from tests.script.rank_script import N_STEPS
from tests.support import wait_until

BEFORE, AFTER = range(N_STEPS // 2 + 1), range(N_STEPS // 2 + 1, N_STEPS)


def continued(first, second):
    """The history of a trial that one attempt has begun, and another ended, without a gap."""
    return [(first, step) for step in BEFORE] + [(second, step) for step in AFTER]


def test_two_ranks_evaluate_each_combination_once_and_together(torchrun):
    assert torchrun.run("a", "b", "c") == 0, torchrun.output
    trials = torchrun.trials()
    assert {name: (trial.state, trial.metric) for name, trial in trials.items()} == dict.fromkeys(
        "abc", (TrialState.FINISHED, 3.0)
    )
    starts = sorted((note["number"], note["rank"]) for note in torchrun.notes("starts"))
    assert starts == [(number, rank) for number in range(3) for rank in range(2)]
    assert len(torchrun.notes("ends")) == 2, "the search has ended on both ranks"


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_raises_fails_the_trial_with_its_traceback(torchrun, rank):
    assert torchrun.run(f"fail@{rank}") != 0
    (trial,) = torchrun.trials().values()
    assert trial.state is TrialState.FAILED, torchrun.output
    assert f"ValueError: the loss of rank {rank} is gone" in trial.error
    assert "Traceback" in trial.error


def test_a_rank_that_is_killed_is_told_from_a_preemption(torchrun):
    assert torchrun.run("be_killed@1") != 0
    (trial,) = torchrun.trials().values()
    assert trial.state is TrialState.LOST, torchrun.output
    assert "rank 1" in trial.error
    assert "its process is gone" in trial.error


def test_a_rank_that_is_killed_while_rank_0_is_stuck_is_told_from_a_preemption(torchrun):
    job = torchrun.start("stay_away@1")
    (note,) = torchrun.await_notes("waits", 1)
    os.kill(note["pid"], signal.SIGKILL)
    assert job.wait(120) != 0
    (trial,) = torchrun.trials().values()
    assert trial.state is TrialState.LOST, torchrun.output


def test_a_trial_whose_rank_0_is_killed_is_run_again_by_the_next_job(torchrun):
    assert torchrun.run("be_killed@0#1", "b") != 0
    assert torchrun.run("be_killed@0#1", "b") == 0, torchrun.output
    trial = torchrun.trials()["be_killed@0#1"]
    assert (trial.state, trial.attempts) == (TrialState.FINISHED, 2)
    assert torchrun.history(trial.number) == continued(1, 2)


def test_a_job_that_is_told_to_end_gives_its_trial_back_and_the_next_one_resumes_it(torchrun):
    job = torchrun.start("wait", "b")
    torchrun.await_notes("waits", 2)
    job.terminate()
    job.wait(120)
    assert len(torchrun.notes("leaves")) == 2, "both ranks were told, and left by themselves"
    trial = torchrun.trials()["wait"]
    assert trial.state is TrialState.RELEASED, torchrun.output
    (torchrun.folder / "go on").touch()
    assert torchrun.run("wait", "b") == 0, torchrun.output
    trial = torchrun.trials()["wait"]
    assert (trial.state, trial.attempts) == (TrialState.FINISHED, 2)
    assert torchrun.history(trial.number) == continued(1, 2)


def test_a_signal_is_heard_while_rank_0_waits_in_an_operation_for_a_rank_that_never_comes(torchrun):
    job = torchrun.start("freeze@1")
    torchrun.await_notes("waits", 1)
    job.terminate()

    def has_ended():
        (trial,) = torchrun.trials().values()
        return trial.state is not TrialState.RUNNING or job.poll() is not None

    wait_until(has_ended, 120, "the end of rank 0 or of torchrun's patience")
    (trial,) = torchrun.trials().values()
    assert trial.state is TrialState.RELEASED, torchrun.output


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("what", ["fail", "be_killed"])
def test_a_restarted_group_goes_on_with_its_trial_from_the_checkpoint(torchrun, what, rank):
    first = f"{what}@{rank}#1"
    assert torchrun.run(first, "b", max_restarts=2) == 0, torchrun.output
    trials = torchrun.trials()
    assert {(trial.state, trial.attempts) for trial in trials.values()} == {
        (TrialState.FINISHED, 2 if name == first else 1) for name, trial in trials.items()
    }
    assert torchrun.history(trials[first].number) == continued(1, 2)
    starts = [note["number"] for note in torchrun.notes("starts") if note["rank"] == 0]
    assert starts == [0, 0, 1], "before it began another one"


def test_a_trial_that_kills_a_rank_each_time_has_failed_for_good_and_the_others_finish(torchrun):
    poison = "be_killed@1"
    assert torchrun.run(poison, "b", "c", max_restarts=3, max_attempts=2) == 0, torchrun.output
    trials = torchrun.trials()
    assert (trials[poison].state, trials[poison].attempts) == (TrialState.LOST, 2)
    assert {trials[name].state for name in "bc"} == {TrialState.FINISHED}


def test_all_ranks_save_into_the_folder_of_the_trial_and_the_next_attempt_of_all_finds_it(torchrun):
    assert torchrun.run("save_together", max_restarts=1) == 0, torchrun.output
    found = {note["rank"]: note["values"] for note in torchrun.notes("finds")}
    assert found == {0: [10.0] * 3, 1: [11.0] * 3}
