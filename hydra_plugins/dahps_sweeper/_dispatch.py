"""The workers of one multirun: launched, and then waited for, or left to themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig

from dahps_core.ledger import Ledger
from hydra_plugins.dahps_sweeper._detach import let_go, let_go_or_stop, stop_and_wait, wait_until_submitted
from hydra_plugins.dahps_sweeper._launch import Launch
from hydra_plugins.dahps_sweeper._launchers import Place, detaches, without_waiting
from hydra_plugins.dahps_sweeper._outcome import FirstFault, none_started
from hydra_plugins.dahps_sweeper._progress import ProgressDisplay
from hydra_plugins.dahps_sweeper._scheduler import jobs_in_queue
from hydra_plugins.dahps_sweeper._submission import Submission
from hydra_plugins.dahps_sweeper._waiting import Doubt, wait_for_workers
from hydra_plugins.dahps_sweeper._watch import Watch
from hydra_plugins.dahps_sweeper._worker_task import WorkerTask, worker_context


@dataclass(frozen=True)
class Dispatch:
    """Launches the workers of one multirun, and waits for them.

    Attributes:
        context: Hydra's, for the trials.
        config: The multirun's config.
        place: Where the workers run.
        task: What each of them runs.
        again: The command that continues with this multirun's trials, in words.
    """

    context: HydraContext
    config: DictConfig
    place: Place
    task: WorkerTask
    again: str

    def launch(self, n_workers: int) -> Launch:
        """Make the launchers of `n_workers` workers ready."""
        leaves_a_queue = self.place.is_queue and detaches(self.config)
        config = without_waiting(self.config) if leaves_a_queue else self.config

        def launcher() -> Launcher:
            context = worker_context(self.context, self.task.run)
            return Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=self.task, config=config
            )

        parts = [(launcher(), numbers) for numbers in self.place.launches(n_workers)]
        return Launch(parts, ends_together=self.place.ends_together)

    def detach(self, launch: Launch, submission: Submission, ledger: Ledger) -> None:
        """Submit the workers, and say how to follow and how to end them.

        Raises:
            DahpsError: None could be submitted.
        """
        launch.start()
        wait_until_submitted(launch, submission)
        queued = launch.n_workers if self.place.is_queue and not launch.error else 0
        n_submitted = queued or len(submission.jobs())
        if launch.error and not n_submitted:
            raise none_started(launch.error) from launch.error
        let_go(ledger, n_submitted, self._batches(submission), self.again)

    def wait(self, launch: Launch, submission: Submission, ledger: Ledger) -> bool:
        """Run the workers and wait for them; returns whether their jobs have vanished.

        Args:
            launch: Ready.
            submission: Of this multirun's jobs.
            ledger: Read only.
        """
        if self.place.is_here:
            ledger.close()  # the trials run here, and may close or write to whatever is open
            launch.run()
            return False
        launch.start()
        try:
            with ProgressDisplay(ledger, self.place.ends_together) as progress:
                watch = Watch(ledger, self.task.run, self.task.options, self.task.only)
                query = partial(jobs_in_queue, submission.batches) if self.place.is_slurm else None
                doubt = Doubt(query, self.task.options.lease_s)
                first_fault = FirstFault(ledger, self.task.run)

                def show_changes() -> None:
                    progress.update(watch.progress)
                    first_fault.look()

                return wait_for_workers(launch, watch, doubt, show_changes)
        except KeyboardInterrupt:
            if self.place.is_slurm:
                let_go_or_stop(ledger, self.task.run, self._batches(submission))
            else:
                stop_and_wait(ledger, self.task.run, launch, self.task.options.grace_s)
            raise

    def _batches(self, submission: Submission) -> list[str]:
        return submission.batches() if self.place.is_slurm else []
