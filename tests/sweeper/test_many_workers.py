"""More workers than a job array of the cluster may have."""

import re
from collections import Counter

import pytest

from tests.support import wait_until
from tests.sweeper.conftest import override

pytestmark = pytest.mark.slurm


def largest_array(slurm):
    return int(re.search(r"MaxArraySize\s*= (\d+)", slurm.run("scontrol", "show", "config"))[1])


def arrays(slurm):
    """The arrays of the test, by size: of a cluster that nobody else uses."""
    jobs = slurm.run("squeue", "--noheader", "--array", "--format=%F %Z").splitlines()
    return Counter(job.split()[0] for job in jobs if str(slurm.folder) in job)


def test_they_are_submitted_in_as_many_arrays_as_it_takes(app, slurm):
    largest = largest_array(slurm)
    if largest > 100:
        pytest.skip(f"arrays of {largest} jobs are not exceeded for a test")
    n_workers = largest + 5
    gate = app.folder / "gate"
    sweep = app.start(
        f"x=range({n_workers})",
        override("wait_for", gate),
        "hydra/launcher=submitit_slurm",
        "hydra.launcher.timeout_min=20",
        f"hydra.sweeper.n_workers={n_workers}",
    )
    wait_until(lambda: len(app.runs()) == 16, 120, "a trial in each slot")
    assert sorted(arrays(slurm).values()) == [5, largest]
    slurm.run("scancel", "--state=PENDING", *arrays(slurm))  # their interpreters would take a minute
    gate.touch()
    outcome = app.wait(sweep)
    assert outcome.code == 0, outcome.output
    assert app.runs() == {(number, 1): 1 for number in range(n_workers)}
    folders = [folder.name for folder in (outcome.folder / "workers").iterdir()]
    assert len({name.rpartition("-")[2] for name in folders}) == len(folders) >= 16
