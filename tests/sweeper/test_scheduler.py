"""What the sweeper asks of SLURM. Commands that fail or hang are injected faults, first on PATH."""

import os
from collections import Counter

import pytest

from hydra_plugins.dahps_sweeper import _scheduler
from hydra_plugins.dahps_sweeper._scheduler import USUAL_ARRAY_SIZE, jobs_in_queue, largest_array
from hydra_plugins.dahps_sweeper._submission import Submission


@pytest.fixture
def held(slurm):
    """An array of three jobs that nobody releases."""
    array = slurm.run(
        "sbatch", "--parsable", "--hold", "--array=0-2", "--output=/dev/null", "--wrap=true"
    ).strip()
    yield array
    slurm.run("scancel", array)


@pytest.fixture
def instead(tmp_path, monkeypatch):
    """Puts a script in the place of a command."""
    folder = tmp_path / "instead"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def put(name, script):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return put


@pytest.mark.slurm
def test_jobs_are_counted_by_state_and_reason(held):
    assert jobs_in_queue(lambda: [held]) == Counter({"pending (JobHeldUser)": 3})
    assert jobs_in_queue(lambda: [held, "999999"]) == Counter({"pending (JobHeldUser)": 3})


@pytest.mark.slurm
def test_what_a_user_has_set_for_the_screen_does_not_count(held, monkeypatch):
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")
    monkeypatch.setenv("SQUEUE_USERS", "nobody")
    assert jobs_in_queue(lambda: [held]) == Counter({"pending (JobHeldUser)": 3})


@pytest.mark.slurm
def test_jobs_that_have_ended_do_not_exist(held, slurm):
    slurm.run("scancel", held)
    assert jobs_in_queue(lambda: [held]) == Counter()


@pytest.mark.slurm
def test_jobs_that_slurm_has_forgotten_do_not_exist(slurm):
    assert jobs_in_queue(lambda: ["999999"]) == Counter()
    assert jobs_in_queue(lambda: ["999998", "999999"]) == Counter()


@pytest.mark.parametrize("script", ["echo rate limit >&2; exit 1", "exec sleep 60"])
def test_a_queue_that_does_not_answer_tells_nothing(instead, monkeypatch, script):
    monkeypatch.setattr(_scheduler, "TIMEOUT_S", 0.5)
    instead("squeue", script)
    instead("scontrol", script)
    assert jobs_in_queue(lambda: ["17"]) is None
    assert largest_array() == USUAL_ARRAY_SIZE


def test_where_there_is_no_slurm_nothing_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert jobs_in_queue(lambda: ["17"]) is None
    assert largest_array() == USUAL_ARRAY_SIZE


def test_of_no_jobs_nothing_is_asked(instead, tmp_path):
    instead("squeue", f"touch '{tmp_path}/asked'")
    assert jobs_in_queue(list) is None
    assert not (tmp_path / "asked").exists()


@pytest.mark.slurm
def test_an_array_may_be_as_large_as_it_is_said(slurm):
    hold = ["sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap=true"]
    array = slurm.run(*hold, f"--array=0-{largest_array() - 1}").strip()
    slurm.run("scancel", array)


@pytest.mark.parametrize("folder", [".submitit/%j", "%A/task %a", "all [of] them"])
def test_jobs_are_known_by_the_files_of_their_submission(tmp_path, folder):
    def submit(job):
        array, _, task = job.partition("_")
        place = tmp_path / folder.replace("%j", job).replace("%A", array).replace("%a", task)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{job}_submitted.pkl").touch()

    submit("9_0")  # by an earlier multirun into the same folder
    submission = Submission(str(tmp_path / folder))
    assert submission.jobs() == set()
    for job in ("17_0", "17_1", "101_0"):
        submit(job)
    assert submission.jobs() == {"17_0", "17_1", "101_0"}
    assert submission.batches() == ["17", "101"]
