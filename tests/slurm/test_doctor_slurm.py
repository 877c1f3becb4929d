"""The doctor as a SLURM step: its tasks find each other, and one of them reports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.storage import FaultyStorage

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).resolve().parents[2]
BRIEF = ("--seconds", "0.3", "--wait", "60")


def doctor_of_four(folder, **environment):
    python_path = os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    # The shim is for the doctor alone: srun itself has nothing to do with the storage.
    variables = [f"{name}={value}" for name, value in environment.items()]
    command = ("srun", "-N4", "-n4", "env", *variables, sys.executable, "-m", "dahps_core", "doctor")
    return subprocess.run(
        [*command, str(folder), *BRIEF],
        env={**os.environ, "PYTHONPATH": python_path.rstrip(os.pathsep)},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


@pytest.fixture
def folder(slurm, tmp_path):
    folder = tmp_path / "a folder, größer"
    folder.mkdir()
    return folder


def test_four_tasks_meet_and_one_reports(folder):
    done = doctor_of_four(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\nThis storage is safe for a ledger.") == 1
    assert "8 processes of 4 ranks" in done.stdout
    assert not list(folder.iterdir())


def test_locks_that_lie_are_found_out(folder, tmp_path):
    faulty = FaultyStorage(folder, tmp_path / "control")
    faulty.locks("lying")
    done = doctor_of_four(folder, **faulty.environment())
    assert done.returncode == 1
    assert "7 of 7 others got it too" in done.stdout
    assert (
        done.stdout.count("\nThis storage is safe for a ledger only with hydra.sweeper.locking=folder") == 1
    )
    assert not list(folder.iterdir())
