"""What a launcher runs: a worker, in a job that needs no complete config of its own."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, replace
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from dahps_core.current import Trial
from dahps_core.ledger import Ledger, Locking, Search
from dahps_core.overrides import to_overrides
from dahps_core.worker import Job, Worker, WorkerOptions


def worker_context(context: HydraContext, run: str) -> HydraContext:
    """The context for the jobs of the workers: none of the user's callbacks, which are for the trials."""
    return replace(context, config_loader=WorkerConfigLoader(run), callbacks=Callbacks())


class WorkerConfigLoader:
    """Gives a worker's job the sweep's own config, which need not be complete, and a folder.

    Composing it like a trial's would demand of every app that it composes without a combination. This is
    the one method of a config loader that a launcher calls.
    """

    def __init__(self, run: str) -> None:
        self._run = run

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """The config of one worker; `sweep_overrides` only names it."""
        config = copy.deepcopy(master_config)
        OmegaConf.set_readonly(config.hydra, False)  # Hydra 1.4 has frozen it, and the launcher adds to it
        with open_dict(config.hydra):
            config.hydra.sweep.subdir = f"workers/{self._run}-${{hydra.job.num}}"
            config.hydra.output_subdir = None
            config.hydra.job.chdir = False
            config.hydra.overrides.task = list(sweep_overrides)
        return config


@dataclass
class WorkerTask:
    """The task function of a worker's job; it is pickled into the job.

    Attributes:
        context: The real context, with which the trials are composed and run.
        config: The sweep's config.
        task_function: The user's.
        ledger: The ledger's folder.
        locking: As the ledger was made with.
        patience_s: How long to wait for a ledger that is locked, or that the storage does not give.
    """

    context: HydraContext
    config: DictConfig
    task_function: TaskFunction
    ledger: str
    search: Search
    options: WorkerOptions
    run: str
    locking: Locking
    patience_s: float

    def __call__(self, worker_config: DictConfig) -> str:
        """Work; returns why the worker stopped."""
        job = HydraConfig.get().job.id
        ledger = Ledger.join(
            self.ledger, self.search, locking=self.locking, create=False, patience_s=self.patience_s
        )
        run_folder = os.path.abspath(self.config.hydra.sweep.dir)
        worker = Worker(ledger, self.run, self.prepare, self.options, str(job), run_folder)
        return worker.work().value

    def prepare(self, trial: Trial) -> Job:
        """Compose the trial's config, as Hydra's launchers do for a job."""
        config = self.context.config_loader.load_sweep_config(self.config, to_overrides(trial.combination))
        with open_dict(config.hydra):
            config.hydra.job.id = HydraConfig.get().job.id
            config.hydra.job.num = trial.number
        return Job(evaluate=lambda: self._evaluate(config), output_dir=_output_dir(config))

    def _evaluate(self, config: DictConfig) -> Any:
        job_return = run_job(
            hydra_context=self.context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        # The trial has pointed the log at its own folder.
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return job_return.return_value


def _output_dir(config: DictConfig) -> str:
    hydra_config = HydraConfig.instance()
    before = hydra_config.cfg
    hydra_config.set_config(config)  # for ${hydra:...} in the folder's name
    try:
        folder, name = (str(OmegaConf.select(config, f"hydra.sweep.{key}")) for key in ("dir", "subdir"))
    finally:
        hydra_config.cfg = before
    return os.path.abspath(os.path.join(folder, name))
