"""The SLURM that `sinfo` shows, for the tests that need one."""

import os
import subprocess

import pytest

from tests.support import wait_until

REQUIRED = os.environ.get("DAHPS_REQUIRE_SLURM") == "1"


class Slurm:
    """What tests ask of a cluster, by its own commands."""

    def run(self, *command):
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    def squeue(self):
        """The ids of all jobs that wait or run."""
        return self.run("squeue", "--noheader", "--format=%i").split()

    def states(self, job):
        """The states that the accounting has of a job, oldest first: one for each time it was started."""
        columns = "--parsable2", "--noheader", "--format=State"
        return self.run("sacct", "--duplicates", "--allocations", f"--jobs={job}", *columns).split("\n")[:-1]


def _answer() -> str | None:
    """None where `sinfo` shows nodes, else why there is no SLURM."""
    try:
        nodes = Slurm().run("sinfo", "--noheader")
    except (OSError, subprocess.SubprocessError) as error:
        return f"no SLURM answers sinfo ({type(error).__name__}); `make slurm` starts one"
    return None if nodes.strip() else "sinfo shows no nodes"


@pytest.fixture(scope="session")
def _reachable():
    if reason := _answer():
        (pytest.fail if REQUIRED else pytest.skip)(reason)


@pytest.fixture
def slurm(_reachable):
    """A cluster without jobs; a test that leaves some behind fails, and they are cancelled."""
    slurm = Slurm()
    wait_until(lambda: not slurm.squeue(), 60, "an empty queue")
    yield slurm
    try:
        wait_until(lambda: not slurm.squeue(), 60, "the end of the test's jobs")
    except AssertionError:
        slurm.run("scancel", *slurm.squeue())
        raise
