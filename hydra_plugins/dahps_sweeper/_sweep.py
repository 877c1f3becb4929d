"""One multirun, from the config to the best trial."""

from __future__ import annotations

import logging
import os
import secrets
import shlex
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from dahps_core.batch import BatchJob
from dahps_core.errors import DahpsError
from dahps_core.ledger import Ledger, Search
from dahps_core.overrides import to_overrides
from dahps_core.trial import TrialRecord
from dahps_core.worker import WorkerOptions
from hydra_plugins.dahps_sweeper._judging import judge, none_started
from hydra_plugins.dahps_sweeper._launch import Launch
from hydra_plugins.dahps_sweeper._launchers import place_of_workers
from hydra_plugins.dahps_sweeper._letting_go import let_go, let_go_or_stop, stop, wait_until_submitted
from hydra_plugins.dahps_sweeper._options import read_only, worker_options
from hydra_plugins.dahps_sweeper._progress import ProgressDisplay, summarized
from hydra_plugins.dahps_sweeper._scheduler import jobs_in_queue
from hydra_plugins.dahps_sweeper._search import read_search
from hydra_plugins.dahps_sweeper._strategy import read_resource_key, with_resource
from hydra_plugins.dahps_sweeper._submission import Submission
from hydra_plugins.dahps_sweeper._waiting import Doubt, wait_for_workers
from hydra_plugins.dahps_sweeper._watch import Watch
from hydra_plugins.dahps_sweeper._worker_task import WorkerTask, worker_context

log = logging.getLogger(__name__)

#: The exit status of what a Ctrl-C has ended.
INTERRUPTED = 130


class Sweep:
    """One multirun.

    Args:
        context: Hydra's, for the trials.
        config: The multirun's config.
        task_function: The user's.
    """

    def __init__(self, context: HydraContext, config: DictConfig, task_function: TaskFunction) -> None:
        self.context = context
        self.config = config
        self.task_function = task_function
        self.options = config.hydra.sweeper
        self.place = place_of_workers(config)
        self.run_id = secrets.token_hex(4)

    def run(self, arguments: list[str]) -> None:
        """Search, and write `optimization_results.yaml`; a user's mistake is told without a traceback."""
        try:
            self._run(read_search(self.options, arguments, self.context))
        except DahpsError as error:
            raise CompactHydraException(str(error)) from error
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None

    def _run(self, search: Search) -> None:
        # All that can be refused is, before a ledger is made that a mended command would not fit.
        options = worker_options(self.options, self.place)
        only = read_only(self.options)
        resource_key = read_resource_key(self.options, search)
        self._compose_one(search, resource_key, only)
        sweep_dir = Path(self.config.hydra.sweep.dir)
        sweep_dir.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, sweep_dir / "multirun.yaml")
        with Ledger.join(
            self.options.ledger,
            search,
            on_change=self.options.on_change.value,
            locking=self.options.locking.value,
            patience_s=self.options.patience,
            only=only,
        ) as ledger:
            task = self._worker_task(ledger, options, only, resource_key)
            if self._work(ledger, task):
                self._conclude(ledger, sweep_dir)

    def _compose_one(self, search: Search, resource_key: str | None, only: dict[str, Any] | None) -> None:
        # A mistake that all trials share would be found by the jobs too, after hours in the queue.
        space = search.space if only is None else search.space.only(only)
        resource = search.brackets.levels[0] if search.brackets else None
        overrides = with_resource(space[0], resource_key, resource)
        self.context.config_loader.load_sweep_config(self.config, overrides)

    def _worker_task(
        self, ledger: Ledger, options: WorkerOptions, only: dict[str, Any] | None, resource_key: str | None
    ) -> WorkerTask:
        return WorkerTask(
            context=self.context,
            config=self.config,
            task_function=self.task_function,
            ledger=str(ledger.folder.absolute()),
            search=ledger.search,
            options=options,
            run=self.run_id,
            locking=self.options.locking.value,
            patience_s=self.options.patience,
            only=only,
            resource_key=resource_key,
            sweepers_key=BatchJob.from_environment().key,
        )

    def _work(self, ledger: Ledger, task: WorkerTask) -> bool:
        """Launch workers and wait for them; whether this multirun's part in the search is over."""
        limits = task.options.max_trials, task.options.max_attempts, task.options.max_resource_total
        left = ledger.remaining(*limits)
        if not left:
            log.info(
                "Nothing is left to run in the ledger %s; raise max_trials (or max_attempts, "
                "to run failed trials again), or give another",
                ledger.folder,
            )
            return True
        log.info("Search of %d trials, ledger %s", self._total(ledger), ledger.folder)
        # Before a worker has started, so that jobs that are still queued can be stopped.
        ledger.enter_run(self.run_id, os.path.abspath(self.config.hydra.sweep.dir))
        submission = Submission(self.place.submitit_folder)
        launch = self._launch(task, 1 if self.place.is_here else min(self.options.n_workers, left))
        if self.options.detach:
            return self._detach(launch, submission, ledger)
        are_gone = self._wait(launch, submission, ledger, task.options)
        judge(launch, ledger, self.run_id, ledger.remaining(*limits), are_gone=are_gone)
        return True

    def _launch(self, task: WorkerTask, n_workers: int) -> Launch:
        def launcher() -> Launcher:
            context = worker_context(self.context, self.run_id)
            return Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=task, config=self.config
            )

        return Launch([(launcher(), numbers) for numbers in self.place.launches(n_workers)])

    def _detach(self, launch: Launch, submission: Submission, ledger: Ledger) -> bool:
        launch.start()
        wait_until_submitted(launch, submission)
        n_submitted = len(submission.jobs())
        if launch.error and not n_submitted:
            raise none_started(launch.error) from launch.error
        let_go(ledger, n_submitted, self._batches(submission))
        return False

    def _wait(self, launch: Launch, submission: Submission, ledger: Ledger, options: WorkerOptions) -> bool:
        """Wait for the workers; whether their jobs are gone without a word."""
        if self.place.is_here:
            launch.run()
            return False
        launch.start()
        try:
            with ProgressDisplay(ledger, self._total(ledger)) as progress:
                watch = Watch(ledger, self.run_id, options)
                ask = partial(jobs_in_queue, submission.batches) if self.place.is_slurm else None
                doubt = Doubt(ask, options.lease_s, progress.say)
                return wait_for_workers(launch, watch, doubt, lambda: progress.update(watch.left))
        except KeyboardInterrupt:
            if self.place.is_slurm:
                let_go_or_stop(ledger, self.run_id, self._batches(submission))
            else:
                stop(ledger, self.run_id)
            raise

    def _batches(self, submission: Submission) -> list[str]:
        return submission.batches() if self.place.is_slurm else []

    def _total(self, ledger: Ledger) -> int:
        n_trials = ledger.space.n_trials
        return n_trials if self.options.max_trials is None else min(n_trials, self.options.max_trials)

    def _conclude(self, ledger: Ledger, sweep_dir: Path) -> None:
        best = ledger.best()
        OmegaConf.save(OmegaConf.create(_results(best)), sweep_dir / "optimization_results.yaml")
        log.info("%s", summarized(ledger.counts(), best))
        if best is not None:
            at_level = "" if best.resource is None else f" at the highest level, {best.resource}"
            log.info("Best trial #%d: metric %s%s", best.number, best.metric, at_level)
            log.info("  %s", " ".join(to_overrides(best.combination)))
            log.info("  in %s", best.output_dir)
        log.info("More: dahps status %s", shlex.quote(str(ledger.folder)))


def _results(best: TrialRecord | None) -> dict[str, Any]:
    return {
        "name": "dahps",
        "best_combination": dict(best.combination) if best else None,
        "best_metric": best.metric if best else None,
        "best_trial": best.number if best else None,
        "best_output_dir": best.output_dir if best else None,
        **({"best_resource": best.resource} if best and best.resource is not None else {}),
    }
