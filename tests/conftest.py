"""The SLURM that `sinfo` shows, for the tests that need one."""

import functools
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support import skip_unless_required, wait_until

# Whoever starts the tests with nohup, or behind an &, has these ignored: so would all that they start.
for ignorable, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(ignorable) is signal.SIG_IGN:
        signal.signal(ignorable, handler)


class Slurm:
    """What a test asks of a cluster, by its own commands.

    Args:
        folder: The test's own; the jobs that are submitted in it, or below it, are the test's.
    """

    def __init__(self, folder):
        self.folder = folder

    def run(self, *command):
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def squeue(self):
        """The ids of the test's jobs that wait or run: others may use the cluster at the same time."""
        lines = (
            line.split(" ", 1) for line in self.run("squeue", "--noheader", "--format=%A %Z").splitlines()
        )
        return [job for job, folder in lines if Path(folder).is_relative_to(self.folder)]

    def states(self, job):
        """The states that the accounting has of a job, oldest first: one for each time it was started."""
        columns = "--parsable2", "--noheader", "--format=State"
        return self.run("sacct", "--duplicates", "--allocations", f"--jobs={job}", *columns).split("\n")[:-1]


@functools.cache
def why_no_slurm() -> str | None:
    """None where `sinfo` shows nodes."""
    try:
        nodes = Slurm(Path.cwd()).run("sinfo", "--noheader")
    except (OSError, subprocess.SubprocessError) as error:
        return f"no SLURM answers sinfo ({type(error).__name__}); `make slurm` starts one"
    return None if nodes.strip() else "sinfo shows no nodes"


@pytest.fixture
def slurm_answers():
    if reason := why_no_slurm():
        skip_unless_required("SLURM", reason)


@pytest.fixture
def slurm(slurm_answers, tmp_path, monkeypatch):
    """The cluster that `sinfo` shows; a test that leaves jobs behind fails, and they are cancelled."""
    monkeypatch.chdir(tmp_path)
    slurm = Slurm(tmp_path)
    yield slurm
    try:
        wait_until(lambda: not slurm.squeue(), 60, "the end of the test's jobs")
    except AssertionError:
        slurm.run("scancel", *slurm.squeue())
        raise
