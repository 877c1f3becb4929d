"""What a launcher runs: a worker, in a job that needs no complete config of its own."""

from __future__ import annotations

import copy
import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, configure_log, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from dahps_core.environment.batch_job import BatchJob
from dahps_core.errors import ConfigurationError
from dahps_core.ledger import Ledger, Locking, Search
from dahps_core.ledger.folder.run_limits import keep_limits
from dahps_core.model.records import TrialRecord
from dahps_core.process.shutdown import note_signals, noted_signals
from dahps_core.ranks import Leader, follow
from dahps_core.trial.current import Trial
from dahps_core.trial.metric import read_anything, read_result
from dahps_core.worker.worker import Job, Worker, WorkerOptions
from hydra_plugins.dahps_sweeper._overrides import TrialOverrides
from hydra_plugins.dahps_sweeper._owners import Owner, claim_trial
from hydra_plugins.dahps_sweeper._program import Program

#: Bytes of a file's name.
NAME_MAX = 255
#: Why a worker ended on a signal.
ENDED_BY_SIGNAL = "stopped by a signal"


def worker_context(context: HydraContext, run: str) -> HydraContext:
    """Return the context for the workers' jobs: without the user's callbacks, which are for the trials."""
    loader: Any = WorkerConfigLoader(run)  # of Hydra's loader, launchers use what this one has
    return replace(context, config_loader=loader, callbacks=Callbacks())


class WorkerConfigLoader:
    """Gives a worker's job the sweep's own config, which need not be complete, and a folder.

    Composing it like a trial's would demand of every app that it composes without a combination. This is
    the one method of a config loader that a launcher calls.
    """

    def __init__(self, run: str) -> None:
        self._run = run

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Compose the config of one worker; `sweep_overrides` only names it."""
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
        identity: The ledger's.
        locking: As the ledger was made with.
        patience_s: How long to wait for a ledger that is locked, or that the storage does not give.
        only: The branch to draw from; None for the whole space.
        overrides: How those of a trial are written.
        sweepers_place: Of the sweeper's own process among those that it was started with.
        ends_together: Whether a worker that leaves by what it raises takes all others along.
        returned: Number -> what came of it, of a plain sweep's trials that ran in this process; None in a
            search, which can have more of them than a process should remember.
        program: The user's, for the trials to start again.
    """

    context: HydraContext
    config: DictConfig
    task_function: TaskFunction
    ledger: str
    identity: str
    search: Search
    options: WorkerOptions
    run: str
    locking: Locking
    patience_s: float
    only: dict[str, Any] | None
    overrides: TrialOverrides
    sweepers_place: tuple[int, int, str]
    ends_together: bool
    returned: dict[int, JobReturn] | None
    program: Program

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Unpickled in its job: submitit ignores SIGTERM from now on, and the worker does not handle it yet.
        self.__dict__.update(state)
        note_signals()

    def __call__(self, worker_config: DictConfig) -> str:
        """Work, or follow a worker if this process is another rank of its job; returns why that ended."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        try:
            return self._work()
        except (SystemExit, KeyboardInterrupt):
            if not self.ends_together:
                raise
            # With Hydra 1.4, which hangs its JobReturn on them, joblib would pickle them for ever.
            return ENDED_BY_SIGNAL
        finally:
            noted_signals()

    def _work(self) -> str:
        batch = self._batch_of_ranks()
        if batch.rank:
            return follow(batch, Path(self.ledger), partial(self._prepare_to_follow, batch.rank))
        leader = Leader(batch, Path(self.ledger))
        run_folder = os.path.abspath(self.config.hydra.sweep.dir)
        with Ledger.join(
            self.ledger,
            self.search,
            only=self.only,
            locking=self.locking,
            create=False,
            patience_s=self.patience_s,
        ) as ledger:
            # Removed if all others had left.
            keep_limits(ledger.folder, self.run, self.options.limits(self.only))
            worker = Worker(ledger, self.run, self.prepare, self.options, batch, run_folder, leader)
            return worker.work().value

    def prepare(self, trial: Trial) -> Job:
        """Compose the trial's config, as Hydra's launchers do for a job."""
        is_one_of_many = self.returned is None or self.options.isolate
        config = self.composed(trial, HydraConfig.get().job.id if is_one_of_many else str(trial.number))
        folder = output_dir(config)
        # In the sweep's folder, which is the ledger's, no other trial has this one's number.
        is_inside = folder.startswith(os.path.join(os.path.abspath(self.config.hydra.sweep.dir), ""))
        if not (is_inside and is_named_by_number(config)):
            claim_trial(folder, Owner(self.ledger, self.identity, trial.number))
        return Job(
            evaluate=lambda: self._evaluate(config, self.context),
            output_dir=folder,
            read=read_result if self.returned is None else read_anything,
            program=partial(self.program.described, config, self.context.config_loader),
        )

    def _prepare_to_follow(
        self, rank: int, trial: Trial
    ) -> tuple[Callable[[], Any], Callable[[], dict[str, Any]]]:
        """Prepare a follower rank: it writes beside rank 0, and is no job of its own."""
        config = self.composed(trial, HydraConfig.get().job.id)
        with open_dict(config.hydra):
            config.hydra.output_subdir = None
            log_beside(config.hydra.job_logging, f"rank{rank}")
        context = replace(self.context, callbacks=Callbacks())
        program = partial(self.program.described, config, self.context.config_loader)
        return partial(self._evaluate, config, context), program

    def composed(self, trial: Trial | TrialRecord, job_id: str) -> DictConfig:
        """Compose the config of a trial, in a job of this id."""
        # To look at it is to pass it on: see `Trial.ignores_resource`.
        resource = trial.resource if self.overrides.resource_key else None
        overrides = self.overrides.of(trial.combination, resource)
        config = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config.hydra):
            config.hydra.job.id = job_id
            config.hydra.job.num = trial.number
        return config

    def _evaluate(self, config: DictConfig, context: HydraContext) -> Any:
        with self.program.entered():
            job_return = run_job(
                hydra_context=context,
                task_function=self.task_function,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        # The trial has pointed the log at its own folder.
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        if self.returned is not None:
            self.returned[config.hydra.job.num] = job_return
        return job_return.return_value

    def _batch_of_ranks(self) -> BatchJob:
        batch = _batch_job(self.config.hydra.launcher)
        if batch.place == self.sweepers_place:
            # The launcher runs its jobs where it runs itself: what was started together are sweepers.
            return batch.alone()
        batch.require_key()
        if batch.size > 1 and not self.options.isolate:
            raise ConfigurationError(
                f"{batch.size} ranks of one job cannot evaluate a trial without processes of its own",
                hint="Leave hydra.sweeper.isolation=none out",
            )
        return batch


def _batch_job(launcher: DictConfig) -> BatchJob:
    """Return the job with its time limit: the one requested from the launcher, where none is reported."""
    batch = BatchJob.from_environment()
    limit_min, delay_s = (OmegaConf.select(launcher, key) for key in ("timeout_min", "signal_delay_s"))
    ends_at = batch.ends_at
    if ends_at is None and limit_min is not None:
        ends_at = (batch.started_at or time.time()) + 60 * limit_min
    # From then on the trials have to leave.
    return replace(batch, ends_at=None if ends_at is None else ends_at - (delay_s or 0))


def log_beside(job_logging: DictConfig, name: str) -> None:
    """Let a process log to files of its own, beside the trial's."""
    for handler in (OmegaConf.select(job_logging, "handlers") or {}).values():
        raw = OmegaConf.to_container(handler)  # its name may be known only in the job
        if isinstance(raw, dict) and "filename" in raw:
            handler.filename = re.sub(r"(\.\w+)?$", rf".{name}\1", str(raw["filename"]), count=1)


def is_named_by_number(config: DictConfig) -> bool:
    """Return whether a trial's folder is named by its number, so that no two trials share one."""
    job = config.hydra.job
    number = job.num
    name = os.path.basename(output_dir(config))
    with read_write(job):
        job.num = number + 1
        next_name = os.path.basename(output_dir(config))
        job.num = number
    return [name, next_name] == [str(number), str(number + 1)]


def output_dir(config: DictConfig) -> str:
    """Return where the trial with this config writes.

    Raises:
        ConfigurationError: No folder can have that name.
    """
    hydra_config = HydraConfig.instance()
    before = hydra_config.cfg
    hydra_config.set_config(config)  # for ${hydra:...} in the folder's name
    try:
        folder, name = (str(OmegaConf.select(config, f"hydra.sweep.{key}")) for key in ("dir", "subdir"))
    except OmegaConfBaseException as error:
        raise ConfigurationError(str(error), where="hydra.sweep") from error
    finally:
        hydra_config.cfg = before
    longest = max(len(os.fsencode(part)) for part in name.split("/"))
    if longest > NAME_MAX:
        raise ConfigurationError(
            f"the name of the trial's folder would have {longest} bytes, and file systems allow {NAME_MAX}",
            where="hydra.sweep.subdir",
            hint="Leave keys out (hydra.job.config.override_dirname.exclude_keys), or use ${hydra.job.num}",
        )
    return os.path.abspath(os.path.join(folder, name))
