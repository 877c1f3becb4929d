import os
import signal
import threading
from collections import Counter

import pytest
from hydra.core.utils import JobReturn, JobStatus
from hypothesis import given
from hypothesis import strategies as st

from dahps_core.model.records import Draw
from hydra_plugins.dahps_sweeper import _launchers
from hydra_plugins.dahps_sweeper._launch import Launch
from hydra_plugins.dahps_sweeper._launchers import Place
from hydra_plugins.dahps_sweeper._outcome import summarized_endings


class Launcher:
    """Stands in for a launcher whose job failed on a storage that no test can break on every machine."""

    def __init__(self, status=JobStatus.FAILED, result=None):
        self.job_return = JobReturn(status=status)
        self.job_return.return_value = result or OSError("the storage is gone")

    def launch(self, job_overrides, initial_job_idx):
        return [self.job_return] * len(job_overrides)


def test_what_a_worker_raised_is_not_swallowed(capsys):
    launch = Launch([(Launcher(), range(1))])
    launch.run()
    assert str(launch.error) == "the storage is gone"


def test_a_launch_goes_on_when_a_ctrl_c_interrupts_the_wait_for_it():
    goes_on = threading.Event()

    class Pending(Launcher):
        def launch(self, job_overrides, initial_job_idx):
            goes_on.wait()
            return super().launch(job_overrides, initial_job_idx)

    def wait_until_interrupted():
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        launch.returned(60)

    launch = Launch([(Pending(), range(1))])
    launch.start()
    with pytest.raises(KeyboardInterrupt):
        wait_until_interrupted()
    assert not launch.returned(0)
    goes_on.set()
    assert launch.returned(60)


def test_why_workers_ended_is_counted_over_all_launches():
    launch = Launch(
        [
            (Launcher(JobStatus.COMPLETED, Draw.STOPPED.value), range(2)),
            (Launcher(JobStatus.COMPLETED, Draw.OUT_OF_TIME.value), range(2, 5)),
        ]
    )
    launch.start()
    assert launch.returned(60)
    assert launch.n_workers == 5
    assert summarized_endings(launch.endings) == "5 workers ended: 3 out of time, 2 stopped"


def test_a_worker_that_retired_is_explained():
    told = summarized_endings(Counter({Draw.RETIRED.value: 1, Draw.EXHAUSTED.value: 3}))
    assert told.startswith("4 workers ended: 3 exhausted, 1 retired; trials failed there")


@given(n_workers=st.integers(1, 5000), size=st.integers(1, 2000), is_slurm=st.booleans())
def test_each_worker_is_launched_once_in_arrays_that_are_not_too_large(n_workers, size, is_slurm):
    place = Place(is_here=False, is_slurm=is_slurm, is_queue=False, submitit_folder=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_launchers, "largest_array", lambda: size)
        launches = place.launches(n_workers)
    assert [number for numbers in launches for number in numbers] == list(range(n_workers))
    if is_slurm and n_workers > 64:
        assert max(map(len, launches)) <= size
        assert len(launches) == -(-n_workers // size)
    else:
        assert len(launches) == 1
