"""What a batch system tells a process: by table, and by a real SLURM."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dahps_core.environment.batch_job import BatchJob
from dahps_core.errors import ConfigurationError
from tests.mpi import MPIRUN, mpirun
from tests.support import wait_until

ROOT = Path(__file__).resolve().parents[2]

STEP = {
    "SLURM_JOB_ID": "17",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "3",
    "SLURM_NTASKS": "4",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_TASKS_PER_NODE": "3,1",
    "SLURM_NODEID": "1",
    "SLURM_LOCALID": "0",
}
BATCH_SCRIPT = {"SLURM_JOB_ID": "17", "SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0"}
LOCAL = {
    "SUBMITIT_LOCAL_JOB_ID": "4711",
    "SUBMITIT_LOCAL_NTASKS": "2",
    "SUBMITIT_LOCAL_GLOBALID": "1",
    "SUBMITIT_LOCAL_LOCALID": "1",
}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_RESTART_COUNT": "0",
    "MASTER_ADDR": "n1",
    "MASTER_PORT": "29500",
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
}
OPENMPI = {  # recorded under Open MPI 4.1.4, as what follows
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_NODE_RANK": "1",
    "OMPI_MCA_orte_precondition_transports": "37d112319cfe109e-95f0dbc80c6ec378",
    "PMIX_NAMESPACE": "1105592321",
    "PMIX_RANK": "1",
}
MPICH = {  # MPICH 4.0.2
    "PMI_RANK": "1",
    "PMI_SIZE": "2",
    "PMI_FD": "8",
    "MPI_LOCALRANKID": "1",
    "MPI_LOCALNRANKS": "2",
}
DEEPSPEED = {  # as deepspeed/launcher/launch.py sets them on the second of two nodes
    "RANK": "2",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "4",
    "LOCAL_SIZE": "2",
    "CROSS_RANK": "1",
    "CROSS_SIZE": "2",
    "MASTER_ADDR": "n1",
    "MASTER_PORT": "29500",
}
ENV = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "n1", "MASTER_PORT": "29500"}
LIGHTNING = {  # what Lightning leaves in rank 0, which it did not start
    "LOCAL_RANK": "0",
    "NODE_RANK": "0",
    "WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "41234",
}
#: Variables that name no meeting point, with which the ranks of one group could find each other.
NO_KEY = [
    {"RANK": "1", "WORLD_SIZE": "2"},
    {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "n1"},
    MPICH | {"PMI_SIZE": "4"},
]


def place(environ):
    job = BatchJob.from_environment(environ)
    return job.rank, job.size, job.local_rank, job.local_size


@pytest.mark.parametrize(
    ("environ", "name", "expected"),
    [
        ({}, None, (0, 1, 0, 1)),
        (STEP, "17", (3, 4, 0, 1)),
        (STEP | {"SLURM_ARRAY_JOB_ID": "16", "SLURM_ARRAY_TASK_ID": "3"}, "16_3", (3, 4, 0, 1)),
        (STEP | {"SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_LOCALID": "1"}, "17", (3, 4, 1, 2)),
        (STEP | {"SLURM_STEP_TASKS_PER_NODE": "1(x3),2", "SLURM_NODEID": "3"}, "17", (3, 4, 0, 2)),
        (BATCH_SCRIPT, "17", (0, 1, 0, 1)),
        (STEP | {"SLURM_STEP_ID": "4294967290"}, "17", (0, 1, 0, 1)),  # the shell of salloc
        (STEP | {"SLURM_STEP_NUM_TASKS": "1"}, "17", (0, 1, 0, 1)),
        (LOCAL, "4711", (1, 2, 1, 2)),
        (TORCHRUN, None, (5, 8, 1, 4)),
        (STEP | LOCAL, "4711", (1, 2, 1, 2)),
        (STEP | LOCAL | {"SUBMITIT_LOCAL_NTASKS": "1", "SUBMITIT_LOCAL_GLOBALID": "0"}, "4711", (0, 1, 0, 1)),
        (STEP | TORCHRUN, "17", (5, 8, 1, 4)),
        (OPENMPI, None, (1, 2, 1, 2)),
        (OPENMPI | {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}, None, (0, 1, 0, 1)),
        (MPICH, None, (1, 2, 1, 2)),
        (MPICH | {"MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "1"} | ENV, None, (1, 2, 0, 1)),
        (DEEPSPEED, None, (2, 4, 0, 2)),
        (ENV, None, (1, 2, 0, 1)),
        (ENV | {"LOCAL_RANK": "0"}, None, (1, 2, 0, 1)),
        (ENV | {"MASTER_ADDR": "localhost"}, None, (1, 2, 1, 2)),
        (ENV | {"LOCAL_RANK": "7", "LOCAL_WORLD_SIZE": "2"}, None, (1, 2, 0, 1)),
        (ENV | {"RANK": "0", "WORLD_SIZE": "1"}, None, (0, 1, 0, 1)),
        (NO_KEY[0], None, (1, 2, 0, 1)),
        (LIGHTNING, None, (0, 1, 0, 1)),
        ({"RANK": "8"}, None, (0, 1, 0, 1)),  # of a matrix, for example
        (STEP | NO_KEY[0] | {"RANK": "3", "WORLD_SIZE": "4"}, "17", (3, 4, 0, 1)),
        (STEP | {"PMI_RANK": "3", "PMI_SIZE": "4"}, "17", (3, 4, 0, 1)),  # srun --mpi=pmi2
    ],
)
def test_who_a_process_is_among_those_started_with_it(environ, name, expected):
    assert place(environ) == expected
    assert BatchJob.from_environment(environ).name == name


@pytest.mark.parametrize(
    ("environ", "other"),
    [
        (STEP, STEP | {"SLURM_JOB_ID": "18"}),
        (STEP, STEP | {"SLURM_STEP_ID": "1"}),
        (STEP, STEP | {"SLURM_RESTART_COUNT": "1"}),
        (STEP, STEP | {"SLURM_CLUSTER_NAME": "another"}),
        (LOCAL, LOCAL | {"SUBMITIT_LOCAL_JOB_ID": "4712"}),
        (TORCHRUN, TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "1"}),
        (TORCHRUN, TORCHRUN | {"MASTER_PORT": "29501"}),
        (TORCHRUN | {"TORCHELASTIC_RUN_ID": "a/b"}, TORCHRUN | {"TORCHELASTIC_RUN_ID": "a-b"}),
        (OPENMPI, OPENMPI | {"PMIX_NAMESPACE": "1105592322"}),
        (OPENMPI, OPENMPI | {"OMPI_MCA_orte_precondition_transports": "0-1"}),
        (OPENMPI, MPICH),
        (ENV, ENV | {"MASTER_PORT": "29501"}),
        (ENV, ENV | {"MASTER_ADDR": "n2"}),
        (ENV | {"SLURM_JOB_ID": "17"}, ENV | {"SLURM_JOB_ID": "17", "SLURM_RESTART_COUNT": "1"}),
    ],
)
def test_each_start_has_a_key_of_its_own(environ, other):
    assert BatchJob.from_environment(environ).key != BatchJob.from_environment(other).key


@pytest.mark.parametrize(
    ("environ", "other"),
    [
        (STEP, STEP | {"SLURM_PROCID": "0", "SLURM_NODEID": "0", "SLURMD_NODENAME": "n1"}),
        (LOCAL, LOCAL | {"SUBMITIT_LOCAL_GLOBALID": "0"}),
        (TORCHRUN, TORCHRUN | {"RANK": "2", "LOCAL_RANK": "2"}),
        (OPENMPI, OPENMPI | {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}),
        (MPICH, MPICH | {"PMI_RANK": "0", "PMI_FD": "6", "MPI_LOCALRANKID": "0"}),
        (DEEPSPEED, DEEPSPEED | {"RANK": "1", "LOCAL_RANK": "1", "CROSS_RANK": "0"}),
        (ENV | {"LOCAL_RANK": "1"}, ENV | {"RANK": "0", "LOCAL_RANK": "0"}),
    ],
)
def test_all_that_were_started_together_have_one_key(environ, other):
    assert BatchJob.from_environment(environ).key == BatchJob.from_environment(other).key != ""


@pytest.mark.parametrize(
    ("environ", "later", "is_one"),
    [
        (TORCHRUN, TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "1", "MASTER_PORT": "29501"}, True),
        (TORCHRUN | {"TORCHELASTIC_RUN_ID": "a"}, TORCHRUN, False),
        ({"TORCHELASTIC_RUN_ID": "a"}, {"TORCHELASTIC_RUN_ID": "a", "TORCHELASTIC_RESTART_COUNT": "1"}, True),
        ({"TORCHELASTIC_RUN_ID": "a"}, {"TORCHELASTIC_RUN_ID": "a", "SLURM_JOB_ID": "17"}, False),
        (STEP, STEP | {"SLURM_PROCID": "0"}, True),
        (STEP, STEP | {"SLURM_STEP_ID": "1"}, False),
    ],
)
def test_what_a_launcher_starts_anew_is_of_one_lineage(environ, later, is_one):
    first, second = BatchJob.from_environment(environ), BatchJob.from_environment(later)
    assert None not in (first.lineage, second.lineage)
    assert (first.lineage == second.lineage) is is_one
    assert second.restarts == int(later.get("TORCHELASTIC_RESTART_COUNT", 0))


def test_a_process_alone_is_of_no_lineage_and_no_array():
    alone = BatchJob.from_environment({})
    assert (alone.lineage, alone.restarts, alone.array) == (None, 0, None)


def test_the_tasks_of_a_job_array_know_that_they_are_of_one():
    array = {"SLURM_ARRAY_JOB_ID": "16", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "17"}
    job = BatchJob.from_environment(array)
    assert job.array is not None
    assert job.array == BatchJob.from_environment(array | {"SLURM_ARRAY_TASK_ID": "4"}).array
    assert job.array != BatchJob.from_environment(array | {"SLURM_ARRAY_JOB_ID": "15"}).array


@pytest.mark.parametrize("environ", NO_KEY)
def test_ranks_that_cannot_find_each_other_are_refused_where_they_have_to(environ):
    job = BatchJob.from_environment(environ)
    assert (job.rank, job.key) == (1, "")
    with pytest.raises(ConfigurationError, match=r"rank 1 of \d.*MASTER_ADDR and MASTER_PORT.*torchrun"):
        job.require_key()
    BatchJob.from_environment(environ | {"MASTER_ADDR": "n1", "MASTER_PORT": "1"}).require_key()


@pytest.mark.parametrize(
    "environ",
    [
        ENV | {"RANK": "2"},
        ENV | {"RANK": "-1"},
        ENV | {"WORLD_SIZE": "two"},
        MPICH | {"PMI_RANK": "2"},
        OPENMPI | {"OMPI_COMM_WORLD_SIZE": "0"},
    ],
)
def test_a_rank_that_cannot_be_is_an_error_since_each_process_would_work_alone(environ):
    with pytest.raises(ConfigurationError, match=r"(RANK|SIZE).* contradict each other\. Set .*RANK"):
        BatchJob.from_environment(environ)


def test_a_process_that_is_to_work_alone_is_of_a_lineage_of_its_own():
    one, other = (BatchJob.from_environment(TORCHRUN | {"RANK": rank}).alone() for rank in "45")
    assert (one.rank, one.size, one.local_size, one.key) == (0, 1, 1, "")
    assert one.lineage != other.lineage


NAMES = sorted(
    {*STEP, *LOCAL, *TORCHRUN, *OPENMPI, *MPICH, *DEEPSPEED, "SLURM_JOB_END_TIME", "SLURM_JOB_START_TIME"}
)
NONSENSE = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])) | st.sampled_from(
    ["", "-1", "1e3", "٣", "9" * 5000, "2(x2)", "1(x0)", "../../etc", "0", "1", "4"]
)


@given(st.dictionaries(st.sampled_from(NAMES), NONSENSE))
def test_nonsense_is_no_harm(environ):
    try:
        job = BatchJob.from_environment(environ)
    except ConfigurationError:
        return
    assert 0 <= job.rank < job.size
    assert 0 <= job.local_rank < job.local_size <= job.size
    assert job.size > 1 or job.key == ""
    assert "/" not in job.key
    assert len(job.key) < 200
    assert job.time_left_s() is None or job.ends_at >= 1


def test_when_the_job_ends_is_told_where_slurm_tells():
    job = BatchJob.from_environment(
        {"SLURM_JOB_START_TIME": "1700000000", "SLURM_JOB_END_TIME": "1700000600"}
    )
    assert (job.started_at, job.ends_at) == (1700000000, 1700000600)
    assert job.time_left_s() < 0
    for no_time in ({}, {"SLURM_JOB_END_TIME": "soon"}, {"SLURM_JOB_END_TIME": "4294967295"}):
        assert BatchJob.from_environment(no_time).time_left_s() is None


PRINT = "import dataclasses, json; from dahps_core.environment.batch_job import BatchJob; " + (
    "print(json.dumps(dataclasses.asdict(BatchJob.from_environment())))"
)


@pytest.fixture
def python(monkeypatch):
    path = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path).rstrip(os.pathsep))
    return [sys.executable, "-c", PRINT]


def told(text):
    jobs = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return sorted(jobs, key=lambda job: (job["key"], job["rank"]))


def run(command, **environ):
    """What the processes tell that a command starts, as (rank, size) of each group, by key."""
    # Each writes its line at its end, as one piece: mpirun mixes others.
    environ = os.environ | {"PYTHONUNBUFFERED": ""} | environ
    jobs = told(subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60).stdout)
    return {
        key: [(job["rank"], job["size"]) for job in jobs]
        for key, jobs in itertools.groupby(jobs, lambda job: job["key"])
    }


PAIR = [(0, 2), (1, 2)]


@pytest.mark.parametrize("implementation", MPIRUN)
def test_the_processes_of_mpirun_are_one_group_by_whatever_they_are_started(implementation, python):
    command = mpirun(implementation, 2)
    shell = ["sh", "-c", '"$0" "$@"; true', *python]
    groups = [run([*command, *python]), run([*command, *python]), run([*command, *shell])]
    assert [list(group.values()) for group in groups] == [[PAIR]] * 3
    assert len(groups[0] | groups[1] | groups[2]) == 3, "each start has a key of its own"


@pytest.mark.parametrize(("outer", "inner"), [("openmpi", "mpich"), ("mpich", "openmpi")])
def test_the_innermost_launcher_counts(outer, inner, python):
    groups = run([*mpirun(outer, 2), *mpirun(inner, 2), *python])
    assert list(groups.values()) == [PAIR, PAIR]


@pytest.mark.parametrize("implementation", MPIRUN)
def test_variables_from_outside_a_launcher_do_not_count_and_those_set_within_do(implementation, python):
    command = mpirun(implementation, 2)
    other = ENV | {"RANK": "3", "WORLD_SIZE": "5"}
    assert list(run([*command, *python], **other).values()) == [PAIR]
    within = [*command, "env", *(f"{name}={value}" for name, value in other.items()), *python]
    assert list(run(within).values()) == [[(3, 5), (3, 5)]]


@pytest.mark.slurm
def test_a_step_of_slurm_on_two_nodes(slurm, python):
    jobs = told(slurm.run("srun", "-N2", "-n4", "--ntasks-per-node=2", "--time=5", *python))
    assert [(job["rank"], job["size"], job["local_rank"], job["local_size"]) for job in jobs] == [
        (0, 4, 0, 2),
        (1, 4, 1, 2),
        (2, 4, 0, 2),
        (3, 4, 1, 2),
    ]
    assert len({job["key"] for job in jobs}) == 1
    assert len({job["host"] for job in jobs}) == 2
    assert {job["log"] for job in jobs} == {None}


@pytest.mark.slurm
def test_a_batch_script_and_its_steps(slurm, python):
    script = slurm.folder / "script"
    command = " ".join(f"'{word}'" for word in python)
    script.write_text(f"#!/bin/sh\n{command}\nsrun {command}\nsrun -N1 -n2 --relative=1 {command}\n")
    slurm.run("sbatch", "-N2", "-n4", "--ntasks-per-node=2", "--array=3", "--output=log", str(script))
    wait_until(lambda: not slurm.squeue(), 60, "the end of the job")
    jobs = told(Path("log").read_text())
    (alone,) = (job for job in jobs if job["size"] == 1)
    assert alone["log"] == str(slurm.folder / "log")
    steps = {size: [job for job in jobs if job["size"] == size] for size in (4, 2)}
    for size, members in steps.items():
        assert [job["rank"] for job in members] == list(range(size))
        assert {job["local_size"] for job in members} == {2}
    assert len({job["key"] for job in jobs}) == 3
    assert {job["name"].partition("_")[2] for job in jobs} == {"3"}


@pytest.mark.slurm
def test_a_requeued_job_has_another_key(slurm, python):
    script = slurm.folder / "script"
    command = " ".join(f"'{word}'" for word in python)
    script.write_text(
        f"#!/bin/sh\nsrun {command}\n"
        '[ "$SLURM_RESTART_COUNT" ] || { scontrol requeue $SLURM_JOB_ID; sleep 600; }\n'
    )
    slurm.run("sbatch", "-n2", "--requeue", "--open-mode=append", "--output=log", str(script))
    wait_until(lambda: not slurm.squeue(), 60, "the end of its second run")
    jobs = told(Path("log").read_text())
    assert len(jobs) == 4
    assert len({job["key"] for job in jobs}) == 2
    assert len({job["name"] for job in jobs}) == 1
