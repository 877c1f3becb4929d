from hydra.core.utils import JobReturn, JobStatus

from hydra_plugins.dahps_sweeper._launch import Launch


class Launcher:
    """Stands in for a launcher whose job failed on a storage that no test can break on every machine."""

    def launch(self, job_overrides, initial_job_idx):
        job_return = JobReturn(status=JobStatus.FAILED)
        job_return.return_value = OSError("the storage is gone")
        return [job_return]


def test_what_a_worker_raised_is_not_swallowed(capsys):
    launch = Launch(Launcher(), n_workers=1)
    launch.run()
    assert str(launch.error) == "the storage is gone"
