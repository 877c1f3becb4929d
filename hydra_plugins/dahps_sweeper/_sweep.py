"""One multirun, from the config to the best trial."""

from __future__ import annotations

import logging
import secrets
import shlex
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from dahps_core.errors import ConfigurationError, DahpsError
from dahps_core.ledger import Ledger, Search
from dahps_core.overrides import to_overrides
from dahps_core.trial import TrialRecord
from dahps_core.worker import WorkerOptions
from hydra_plugins.dahps_sweeper._launch import Launch, wait_for_workers
from hydra_plugins.dahps_sweeper._progress import ProgressDisplay, summarized
from hydra_plugins.dahps_sweeper._search import read_search
from hydra_plugins.dahps_sweeper._worker_task import WorkerTask, worker_context

log = logging.getLogger(__name__)


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
        self.run_id = secrets.token_hex(4)

    def run(self, arguments: list[str]) -> None:
        """Search, and write `optimization_results.yaml`; a user's mistake is told without a traceback."""
        try:
            search = read_search(self.options, arguments, self.context)
            options = self._worker_options()  # before a ledger is made that a mended command would not fit
            self._compose_one(search)
            sweep_dir = Path(self.config.hydra.sweep.dir)
            sweep_dir.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(self.config, sweep_dir / "multirun.yaml")
            with Ledger.join(
                self.options.ledger,
                search,
                on_change=self.options.on_change.value,
                locking=self.options.locking.value,
                patience_s=self.options.patience,
            ) as ledger:
                self._work(ledger, options)
                self._conclude(ledger, sweep_dir)
        except DahpsError as error:
            raise CompactHydraException(str(error)) from error

    def _compose_one(self, search: Search) -> None:
        # A mistake that all trials share would be found by the jobs too, after hours in the queue.
        self.context.config_loader.load_sweep_config(self.config, to_overrides(search.space[0]))

    def _work(self, ledger: Ledger, options: WorkerOptions) -> None:
        """Launch workers and wait for them, until this multirun's part in the search is over."""
        in_process = not options.isolate
        left = ledger.remaining(options.max_trials, options.max_attempts)
        if not left:
            log.info(
                "Nothing is left to run in the ledger %s; raise max_trials (or max_attempts, "
                "to run failed trials again), or give another",
                ledger.folder,
            )
            return
        n_workers = 1 if in_process else min(self.options.n_workers, left)
        launch = Launch(self._launcher(ledger, options), n_workers)
        log.info("Search of %d trials, ledger %s", self._total(ledger), ledger.folder)
        if in_process:
            launch.run()
        else:
            self._watch(launch, ledger, options)
        self._judge(launch, ledger, options)

    def _watch(self, launch: Launch, ledger: Ledger, options: WorkerOptions) -> None:
        launch.start()
        try:
            with ProgressDisplay(ledger, self._total(ledger)) as progress:
                wait_for_workers(launch, ledger, self.run_id, options, progress.update)
        except KeyboardInterrupt:
            log.warning(
                "Interrupted. Jobs that a cluster runs go on without this process; "
                "run the same command again to add workers and to see the result."
            )
            raise

    def _judge(self, launch: Launch, ledger: Ledger, options: WorkerOptions) -> None:
        """Raise if this multirun could not do its part."""
        run = ledger.run(self.run_id)
        if run.first_failure and not run.has_finished:
            number, error = run.first_failure
            raise DahpsError(
                f"all {run.n_failed} attempts of this multirun failed. "
                f"The first one, of trial #{number}:\n{error}\n"
                "Run the same command again when it is mended, to go on with the trials that are left"
            )
        if launch.error is None:
            return
        if not ledger.workers(self.run_id):
            raise launch.error
        log.warning("A worker ended badly: %s: %s", type(launch.error).__name__, launch.error)
        if left := ledger.remaining(options.max_trials, options.max_attempts):
            raise DahpsError(
                f"this multirun's workers are gone, and {left} trials are left",
                where=str(ledger.folder),
                mend="Nothing that was recorded is lost: run the same command again to go on",
            )

    def _worker_options(self) -> WorkerOptions:
        options = self.options
        if options.n_workers < 1:
            raise ConfigurationError(f"n_workers is {options.n_workers}", mend="It must be at least 1")
        if not options.patience >= 0:
            raise ConfigurationError(f"patience is {options.patience}", mend="Give seconds")
        return WorkerOptions(
            max_trials=options.max_trials,
            max_attempts=options.max_attempts,
            stop_after_failures=options.stop_after_failures,
            heartbeat_s=options.heartbeat,
            lease_s=options.lease,
            isolate=not _runs_in_this_process(self.config),
            trial_timeout_s=options.trial_timeout,
        )

    def _launcher(self, ledger: Ledger, options: WorkerOptions) -> Launcher:
        task = WorkerTask(
            context=self.context,
            config=self.config,
            task_function=self.task_function,
            ledger=str(ledger.folder.absolute()),
            search=ledger.search,
            options=options,
            run=self.run_id,
            locking=self.options.locking.value,
            patience_s=self.options.patience,
        )
        return Plugins.instance().instantiate_launcher(
            hydra_context=worker_context(self.context, self.run_id), task_function=task, config=self.config
        )

    def _total(self, ledger: Ledger) -> int:
        n_trials = ledger.search.space.n_trials
        return n_trials if self.options.max_trials is None else min(n_trials, self.options.max_trials)

    def _conclude(self, ledger: Ledger, sweep_dir: Path) -> None:
        best = ledger.best()
        OmegaConf.save(OmegaConf.create(_results(best)), sweep_dir / "optimization_results.yaml")
        log.info("%s", summarized(ledger.counts(), best))
        if best is not None:
            log.info("Best trial #%d: metric %s", best.number, best.metric)
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
    }


def _runs_in_this_process(config: DictConfig) -> bool:
    # Under Hydra's basic launcher trials run here, one after the other, so that a debugger works.
    return str(config.hydra.launcher._target_).endswith(".BasicLauncher")
