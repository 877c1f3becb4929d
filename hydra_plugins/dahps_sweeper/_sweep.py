"""One multirun, from the config to the best trial."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.errors import CompactHydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from dahps_core.environment.batch_job import BatchJob
from dahps_core.errors import DahpsError
from dahps_core.ledger import Ledger, Search
from dahps_core.ledger.folder.configs import Configs, keep_configs, keep_sources
from dahps_core.ledger.folder.ledger_folder import locking_of
from dahps_core.ledger.folder.run_commands import keep_command
from dahps_core.ledger.folder.run_limits import keep_limits
from dahps_core.ledger.progress import ProgressReader, shown_amount
from dahps_core.model.records import TrialState
from dahps_core.space.overrides import to_overrides
from dahps_core.text.printing import pasted, printable
from dahps_core.worker.worker import WorkerOptions
from hydra_plugins.dahps_sweeper._composing import refuse_what_does_not_compose
from hydra_plugins.dahps_sweeper._dispatch import Dispatch
from hydra_plugins.dahps_sweeper._dry_run import dry_run
from hydra_plugins.dahps_sweeper._frozen import (
    FrozenConfigLoader,
    has_clock_in_sweep_dir,
    put_sweep_dir,
)
from hydra_plugins.dahps_sweeper._interpolations import refuse_changing_references
from hydra_plugins.dahps_sweeper._launchers import detaches, place_of_workers
from hydra_plugins.dahps_sweeper._misplaced import refuse_misplaced_options
from hydra_plugins.dahps_sweeper._options import is_plain_sweep, read_only, worker_options
from hydra_plugins.dahps_sweeper._outcome import judge, refuse_if_none_has_metric
from hydra_plugins.dahps_sweeper._overrides import Argument, TrialOverrides, read_arguments
from hydra_plugins.dahps_sweeper._owners import Owner, claim_sweep, expect_writable, plain_ledger
from hydra_plugins.dahps_sweeper._program import Program
from hydra_plugins.dahps_sweeper._reachable_configs import reached_configs
from hydra_plugins.dahps_sweeper._resource import described_levels, refuse_unread_resource
from hydra_plugins.dahps_sweeper._results import conclude, save
from hydra_plugins.dahps_sweeper._return_value import Returns, batches, first_failure, records
from hydra_plugins.dahps_sweeper._run_alone import command_of_process
from hydra_plugins.dahps_sweeper._run_only import (
    not_searched,
    put_aside,
    refuse_searched,
    without_listed,
)
from hydra_plugins.dahps_sweeper._search import read_search
from hydra_plugins.dahps_sweeper._serialization import as_yaml, refuse_what_cannot_travel
from hydra_plugins.dahps_sweeper._strategy import read_resource_key
from hydra_plugins.dahps_sweeper._submission import Submission
from hydra_plugins.dahps_sweeper._time_limits import with_time_limits
from hydra_plugins.dahps_sweeper._trial_configs import TrialConfigs
from hydra_plugins.dahps_sweeper._worker_task import WorkerTask

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
        self.is_plain = is_plain_sweep(self.options)
        self.run_id = secrets.token_hex(4)
        self.folder = Path(config.hydra.sweep.dir).absolute()
        self.failure: Exception | None = None

    def run(self, arguments: list[str]) -> Returns:
        """Search, and write `optimization_results.yaml`; report a user's mistake without a traceback.

        Returns:
            The records of the trials; of a plain sweep, batches of Hydra's `JobReturn`.

        Raises:
            Exception: Of a plain sweep: what the first trial has raised that failed.
        """
        try:
            self.program = Program.of_this_process(self.task_function, self.config, arguments)
            self.loader = FrozenConfigLoader(self.context.config_loader, self.config)
            self.context = replace(self.context, config_loader=self.loader)
            returns = self._run(self._searched(arguments))
            if self.failure:
                raise self.failure
            return returns
        except DahpsError as error:
            raise CompactHydraException(str(error)) from error
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None

    def _searched(self, arguments: list[str]) -> dict[str, Argument]:
        """Return the arguments that combinations are made of: the others say how trials are run."""
        searched: set[str] = set()
        folder = Path(self._ledger_folder())
        if not self.is_plain and locking_of(folder):
            with Ledger.open(folder, patience_s=self.options.patience) as ledger:
                # The ledger of an older version has all that was typed, and keeps it.
                searched = {key for _, key, _ in ledger.search.space.levels()}
        kept = put_aside(self.config, arguments, self.context, self.loader.repository, searched)
        return read_arguments(self.options, kept, self.context)

    def _run(self, arguments: dict[str, Argument]) -> Returns:
        # All that can be refused is, before a ledger is made that a corrected command would not fit.
        search = read_search(self.options, arguments)
        options = worker_options(self.options, self.place)
        only = read_only(self.options)
        overrides = TrialOverrides.like(arguments, read_resource_key(self.options, search))
        refuse_changing_references(self.context, self.config, search.space, arguments)
        configs = self._freeze_configs(search)
        refuse_unread_resource(search, overrides.resource_key, configs, self.task_function)
        refuse_misplaced_options(arguments, self.config, configs, self.loader)
        self.config = with_time_limits(self.config, self.loader.repository, self.place, self.is_plain)
        as_yaml(self.config)  # raises if it cannot be written
        composed = TrialConfigs(self.loader, self.config, search, overrides)
        if not self.place.is_here:
            refuse_what_cannot_travel(self.context, self.config, self.task_function)
        if self.options.dry_run:
            levels = described_levels(
                search, overrides.resource_key, configs, self.options.max_resource_total
            )
            folder = Path(self._ledger_folder())
            dry_run(search, only, arguments, composed.of, self.place, self.config, folder, levels)
            composed.check(only, is_plain=self.is_plain)
            return Returns(list)
        if self.is_plain:  # its ledger is in the folder
            composed.check(only, is_plain=True)
            self._claim_folder(plain_ledger(self.run_id), None)
        else:
            space = search.space if only is None else search.space.only(only)
            refuse_what_does_not_compose(space, composed.of, self.loader.repository, arguments)
            composed.check(only, is_plain=False)
            expect_writable(self.folder)  # before there is a ledger; only that one can claim it
        with Ledger.join(
            self._ledger_folder(),
            search,
            on_change=self.options.on_change.value,
            locking=self.options.locking.value,
            patience_s=self.options.patience,
            only=only,
        ) as ledger:
            if not self.is_plain:
                self._claim_folder(str(ledger.folder), ledger.identity())
            save(as_yaml(self.config), self.folder / "multirun.yaml")
            self._keep(configs, ledger, overrides.resource_key)
            keep_limits(ledger.folder, self.run_id, options.limits(only))
            task = self._worker_task(ledger, options, only, overrides)
            try:
                is_over = all(self._work(ledger, part) for part in self._parts(task, ledger))
            except KeyboardInterrupt:
                conclude(ledger, self.folder, options.limits(only))
                raise
            if is_over:
                conclude(ledger, self.folder, options.limits(only))
            return self._returns(task, ledger)

    def _ledger_folder(self) -> str:
        if self.is_plain:  # of this multirun alone: a sweep that is typed again is run again
            return str(self.folder / plain_ledger(self.run_id))
        hydra = self.config.hydra
        return str(self.options.ledger or Path(hydra.runtime.cwd, "dahps", hydra.job.name))

    def _freeze_configs(self, search: Search) -> Configs:
        """Freeze the configs as they are now; return those that trials may be composed of."""
        names = not_searched(self.config)
        refuse_searched(search.space, names)
        return dict(without_listed(reached_configs(self.loader.repository, self.config, search.space), names))

    def _claim_folder(self, ledger: str, identity: str | None) -> None:
        """Make the sweep's folder the ledger's; if it is taken, and the clock has named it, use another."""
        owner = Owner.of_sweep(self.run_id, ledger, identity)
        folder = claim_sweep(self.folder, owner, is_chosen=not has_clock_in_sweep_dir(self.config))
        self.loader.sweep_dir += folder.name.removeprefix(self.folder.name)
        put_sweep_dir(self.config, self.loader.sweep_dir)
        self.folder, self.place = folder, place_of_workers(self.config)

    def _keep(self, configs: Configs, ledger: Ledger, resource_key: str | None) -> None:
        """Keep what the trials are made of, and the command that runs one of them alone."""
        is_extended = self.options.on_change.value == "extend"
        number, changes = keep_configs(ledger.folder, configs, extend=is_extended)
        if changes:
            lines = "\n  ".join(changes)
            log.warning("New trials use other configs than earlier ones in this ledger:\n  %s", lines)
        sources = keep_sources(ledger.folder, self.loader.repository.answers())
        kept = {"configs": number, "sources": sources}
        command = command_of_process(ledger.folder, os.getcwd(), resource_key, **kept)
        keep_command(ledger.folder, self.run_id, command)

    def _worker_task(
        self, ledger: Ledger, options: WorkerOptions, only: dict[str, Any] | None, overrides: TrialOverrides
    ) -> WorkerTask:
        return WorkerTask(
            context=self.context,
            config=self.config,
            task_function=self.task_function,
            ledger=str(ledger.folder),
            identity=ledger.identity(),
            search=ledger.search,
            options=options,
            run=self.run_id,
            locking=self.options.locking.value,
            patience_s=self.options.patience,
            only=only,
            overrides=overrides,
            sweepers_place=BatchJob.from_environment().place,
            ends_together=self.place.ends_together,
            returned={} if self.is_plain else None,
            program=self.program,
        )

    def _parts(self, task: WorkerTask, ledger: Ledger) -> Iterator[WorkerTask]:
        """Split the work into parts that are done in sequence: the batches of a plain sweep."""
        size = self.options.max_batch_size
        if size is None:
            yield task
            return
        total = _total(ledger, task)
        for start in range(0, total, size):
            if self.failure is None:
                yield replace(task, options=replace(task.options, max_trials=min(start + size, total)))

    def _work(self, ledger: Ledger, task: WorkerTask) -> bool:
        """Launch workers and wait for them; whether this multirun's part in the search is over."""
        limits = task.options.limits(task.only)
        progress = ProgressReader(ledger).read([limits])
        if not progress.n_left:
            log.info(
                "Nothing is left to run in the ledger %s. Raise max_trials (or max_attempts, "
                "to rerun failed trials), or give another ledger",
                printable(str(ledger.folder)),
            )
            return True
        budget = f"{shown_amount(progress.budget)} {progress.unit}"
        log.info("Search of %s, ledger %s", budget, printable(str(ledger.folder)))
        # Before a worker has started, so that jobs that are still queued can be stopped.
        ledger.enter_run(self.run_id, str(self.folder))
        submission = Submission(self.place.submitit_folder)
        dispatch = Dispatch(self.context, self.config, self.place, task, self._again(ledger))
        launch = dispatch.launch(1 if self.place.is_here else min(self.options.n_workers, progress.n_left))
        if detaches(self.config):
            dispatch.detach(launch, submission, ledger)
            return False
        are_gone = dispatch.wait(launch, submission, ledger)
        if self.is_plain:
            failed = ledger.numbers_in(TrialState.FAILED, TrialState.LOST)
            trials = (trial for number in failed for trial in ledger.trials_among([number]))
            self.failure = first_failure(task, trials)
        else:
            refuse_if_none_has_metric(ledger, self.run_id, task.options.stop_after_failures)
        left = ProgressReader(ledger).remaining(limits)
        judge(launch, ledger, self.run_id, left, self._again(ledger), are_gone=are_gone)
        return True

    def _again(self, ledger: Ledger) -> str:
        """Return the command that continues this multirun's trials, in words."""
        if not self.is_plain:
            return "the same command again"
        folder = to_overrides({"hydra.sweeper.ledger": str(ledger.folder)})
        return f"the same command with hydra.sweeper.strategy.name=grid {pasted(folder)}"

    def _returns(self, task: WorkerTask, ledger: Ledger) -> Returns:
        if self.is_plain:
            return batches(task, list(ledger.trials()), self.options.max_batch_size)
        return records(ledger)


def _total(ledger: Ledger, task: WorkerTask) -> int:
    n_trials, limit = ledger.space.n_trials, task.options.max_trials
    return n_trials if limit is None else min(n_trials, limit)
