"""The cluster that `make slurm` starts is a real one, and leaves nothing."""

import os
import shlex
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import submitit

from tests.conftest import skip_unless_required
from tests.slurm import cluster as module
from tests.support import wait_until

pytestmark = pytest.mark.slurm


class ACluster:
    """A cluster of its own, by the commands that a person uses."""

    def __init__(self, folder):
        self.folder = folder
        self.conf = folder / "slurm.conf"

    def command(self, name):
        return subprocess.run(
            [sys.executable, module.__file__, name, self.folder], capture_output=True, text=True, check=False
        )

    def start(self):
        started = self.command("start")
        assert started.returncode == 0, started.stderr
        return started.stdout

    def stop(self):
        stopped = self.command("stop")
        assert stopped.returncode == 0, stopped.stderr

    def processes(self):
        """All that have the folder in their command line or in their environment."""
        mark = os.fsencode(self.folder)
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if any(mark in (process / file).read_bytes() for file in ("cmdline", "environ")):
                    found.add(int(process.name))
        return found


def has_ended(process):
    """Also true for a zombie, which waits for its new parent."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    try:
        module.check_preconditions()
    except module.ClusterError as error:
        skip_unless_required(str(error))
    cluster = ACluster(tmp_path_factory.mktemp("cluster"))
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
def slurm_answers(shared, monkeypatch):
    # These tests know what this cluster looks like; a user's own need not have its partitions.
    monkeypatch.setenv("SLURM_CONF", str(shared.conf))


@pytest.fixture
def another(shared, tmp_path):
    cluster = ACluster(tmp_path / "another cluster, größer")
    yield cluster
    cluster.stop()


def test_four_nodes_run_a_step(slurm):
    nodes = slurm.run("srun", "-N4", "-n4", "printenv", "SLURMD_NODENAME").split()
    assert sorted(nodes) == ["n1", "n2", "n3", "n4"]


def test_an_array_of_submitit_runs_and_is_accounted(slurm, tmp_path):
    executor = submitit.AutoExecutor(tmp_path, cluster="slurm")
    executor.update_parameters(timeout_min=5, slurm_array_parallelism=8)
    jobs = executor.map_array(pow, range(8), [2] * 8)
    assert [job.result() for job in jobs] == [number**2 for number in range(8)]
    wait_until(lambda: slurm.states(jobs[0].job_id) == ["COMPLETED"], 60, "the accounting")


def test_the_urgent_partition_preempts_and_the_job_runs_again(slurm):
    hold = ["--parsable", "--nodes=4", "--exclusive", "--output=/dev/null", "--wrap=sleep 600"]
    patient = slurm.run("sbatch", *hold).strip()
    wait_until(lambda: slurm.states(patient) == ["RUNNING"], 60, "the patient job's start")
    urgent = slurm.run("sbatch", "--partition=urgent", *hold).strip()
    wait_until(lambda: slurm.states(urgent) == ["RUNNING"], 60, "the urgent job's start")
    slurm.run("scancel", urgent)
    wait_until(
        lambda: slurm.states(patient) == ["PREEMPTED", "RUNNING"], 60, "the patient job's second start"
    )
    slurm.run("scancel", patient)


def test_a_second_start_leaves_the_cluster_as_it_is(shared):
    processes = shared.processes()
    told = shared.start()
    assert "up already" in told
    assert f"export SLURM_CONF={shlex.quote(str(shared.conf))}" in told
    assert shared.processes() == processes


def test_a_stopped_cluster_leaves_nothing_and_its_neighbour_alone(another, shared, slurm, monkeypatch):
    neighbours = shared.processes()
    another.start()
    run = (another.folder / "run").resolve()
    monkeypatch.setenv("SLURM_CONF", str(another.conf))
    slurm.run("sbatch", "--output=pid", "--wrap=setsid sleep 600 & echo $!; wait")
    wait_until(lambda: (slurm.folder / "pid").exists() and (slurm.folder / "pid").read_text(), 60, "the job")
    job = Path("/proc", (slurm.folder / "pid").read_text().strip())
    assert not has_ended(job)
    another.stop()
    monkeypatch.setenv("SLURM_CONF", str(shared.conf))
    assert another.command("status").returncode == 1
    assert not another.processes()
    assert has_ended(job)
    assert not run.exists()
    assert not list(another.folder.iterdir())
    assert shared.processes() == neighbours
    assert shared.command("status").returncode == 0


def test_a_cluster_that_was_killed_starts_anew(another):
    another.start()
    for pid in another.processes():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not another.processes(), 60, "the end of the daemons")
    assert another.command("status").returncode == 1
    another.start()
    assert another.command("status").returncode == 0


def test_a_cluster_of_which_a_part_runs_starts_anew(another):
    another.start()
    controllers = [
        pid for pid in another.processes() if Path(f"/proc/{pid}/comm").read_text() == "slurmctld\n"
    ]
    assert controllers
    for pid in controllers:
        os.kill(pid, signal.SIGKILL)
    another.start()
    assert another.command("status").returncode == 0


def test_without_root_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(module.ClusterError, match="as root"):
        module.Cluster(tmp_path / "cluster").start()


def test_without_its_programs_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(module, "PATH", str(tmp_path))
    with pytest.raises(module.ClusterError, match=r"munged.*apt-get install .*munge"):
        module.Cluster(tmp_path / "cluster").start()


def test_clusters_that_start_at_once_share_no_port(monkeypatch):
    monkeypatch.setattr(module.random, "randrange", lambda first, _: first + next(draws))
    with ExitStack() as ones, ExitStack() as others:
        draws = iter(range(100))
        mine = module._free_ports(6, ones)
        draws = iter(range(100))
        assert not set(mine) & set(module._free_ports(6, others))
    draws = iter(range(100))
    with ExitStack() as again:
        assert module._free_ports(6, again) == mine
