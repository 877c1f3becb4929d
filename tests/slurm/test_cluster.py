"""The cluster that `make slurm` starts is a real one."""

import os
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import submitit

from tests.support import wait_until

pytestmark = pytest.mark.slurm

CLUSTER = Path(__file__).with_name("cluster.py")


def test_four_nodes_run_a_step(slurm):
    nodes = slurm.run("srun", "-N4", "-n4", "printenv", "SLURMD_NODENAME").split()
    assert len(set(nodes)) == 4


def test_an_array_of_submitit_runs_and_is_accounted(slurm, tmp_path):
    executor = submitit.AutoExecutor(tmp_path, cluster="slurm")
    executor.update_parameters(timeout_min=5, slurm_array_parallelism=8)
    jobs = executor.map_array(pow, range(8), [2] * 8)
    assert [job.result() for job in jobs] == [number**2 for number in range(8)]
    wait_until(lambda: slurm.states(jobs[0].job_id) == ["COMPLETED"], 60, "the accounting")


def test_the_urgent_partition_preempts_and_requeues(slurm):
    hold = ["--output=/dev/null", "--wrap=sleep 600"]
    patient = slurm.run("sbatch", "--parsable", "-N4", "--exclusive", *hold).strip()
    wait_until(lambda: "RUNNING" in slurm.states(patient), 60, "the patient job's start")
    urgent = slurm.run("sbatch", "--parsable", "-N4", "--exclusive", "--partition=urgent", *hold).strip()
    wait_until(lambda: "RUNNING" in slurm.states(urgent), 60, "the urgent job's start")
    wait_until(lambda: slurm.states(patient)[-1] == "PENDING", 60, "the patient job's way back to the queue")
    slurm.run("scancel", patient, urgent)


def test_it_lives_beside_another_and_leaves_nothing(slurm, tmp_path):
    folder = tmp_path / "another cluster, größer"
    environment = {name: value for name, value in os.environ.items() if name != "SLURM_CONF"}

    def cluster(command):
        return subprocess.run(
            [sys.executable, CLUSTER, command, folder], env=environment, capture_output=True, text=True
        )

    try:
        started = cluster("start")
        assert started.returncode == 0, started.stderr
        assert shlex.quote(str(folder / "slurm.conf")) in started.stdout
        assert cluster("status").returncode == 0
        assert "up already" in cluster("start").stdout
        home = (folder / "run").resolve()
    finally:
        stopped = cluster("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert cluster("status").returncode == 1
    assert not list(folder.iterdir())
    assert not home.exists()
    assert not processes_of(folder)
    assert len(slurm.run("sinfo", "--noheader", "--Node").splitlines()) >= 4


def processes_of(home):
    """Who has the folder in the command line or in the environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found += [process] * any(
                str(home).encode() in (process / file).read_bytes() for file in ("cmdline", "environ")
            )
    return found
