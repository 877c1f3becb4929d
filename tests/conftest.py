"""How the tests are shared out among processes, and the SLURM of those that need one."""

import fcntl
import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import skip_unless_required, wait_until

ROOT = Path(__file__).resolve().parents[1]
CLUSTER = ROOT / "tests" / "slurm" / "cluster.py"

# Whoever starts the tests with nohup, or behind an &, has these ignored: so would all that they start.
for ignorable, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(ignorable) is signal.SIG_IGN:
        signal.signal(ignorable, handler)


#: Where the long tests are.
LONG = (
    *("tests/nfs/", "tests/slurm/", "tests/sweeper/", "tests/faults/", "tests/packaging/"),
    *("tests/script/", "tests/example_app/", "tests/ledger/"),
)
#: Whose tests run one after the other, in one process: they share what takes long to make, or see each other.
TOGETHER = ("tests/nfs/", "tests/slurm/test_cluster.py", "tests/packaging/test_wheel.py")


def pytest_collection_modifyitems(items):
    """The long ones first: at the end no process works on one while the others have nothing to do."""
    items.sort(key=lambda item: next((n for n, place in enumerate(LONG) if place in item.nodeid), len(LONG)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Each test goes to the process that is free, but for those that belong together."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return next((place for place in TOGETHER if nodeid.startswith(place)), nodeid)

    return Scheduling(config, log)


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


@pytest.fixture(scope="session")
def own_cluster(tmp_path_factory):
    """The slurm.conf of a cluster like that of `make slurm`, for the tests of this process alone."""
    folder = tmp_path_factory.mktemp("cluster")
    subprocess.run([sys.executable, CLUSTER, "start", folder], check=True, stdout=subprocess.DEVNULL)
    yield str(folder / "slurm.conf")
    subprocess.run([sys.executable, CLUSTER, "stop", folder], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def slurm_answers(request, monkeypatch, tmp_path_factory):
    """A cluster on which nothing waits for the slots of another test, or is preempted by it."""
    if reason := why_no_slurm():
        skip_unless_required("SLURM", reason)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
    elif os.environ.get("SLURM_CONF") == str(ROOT / ".slurm" / "slurm.conf"):
        monkeypatch.setenv("SLURM_CONF", request.getfixturevalue("own_cluster"))
        yield
    else:  # a user's own cluster: one test after the other
        with (tmp_path_factory.getbasetemp().parent / "slurm").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            yield


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
