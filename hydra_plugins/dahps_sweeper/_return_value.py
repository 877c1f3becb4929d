"""What `sweep()` returns: of a search its trials, of a plain sweep what Hydra's basic sweeper returns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any

from hydra import version
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf, open_dict

from dahps_core.errors import DahpsError
from dahps_core.ledger import Ledger
from dahps_core.model.records import TrialRecord, TrialState
from hydra_plugins.dahps_sweeper._worker_task import WorkerTask

_STATUS = {
    TrialState.FINISHED: JobStatus.COMPLETED,
    TrialState.FAILED: JobStatus.FAILED,
    TrialState.LOST: JobStatus.FAILED,
}


class Returns(Sequence[Any]):
    """A list that is made on first use: `hydra.main` itself ignores it.

    Args:
        make: Makes it.
    """

    def __init__(self, make: Callable[[], list[Any]]) -> None:
        self._make = make

    @cached_property
    def _items(self) -> list[Any]:
        return self._make()

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)


def records(ledger: Ledger) -> Returns:
    """Yield the record of each trial in a search's ledger, in the order of their numbers."""
    folder = ledger.folder.absolute()

    def read() -> list[TrialRecord]:
        with Ledger.open(folder) as ledger:
            return list(ledger.trials())

    return Returns(read)


def batches(task: WorkerTask, trials: Sequence[TrialRecord], size: int | None) -> Returns:
    """Yield the `JobReturn` of each trial of a plain sweep, in its order, in batches of a size."""
    size = size or len(trials) or 1
    chunks = [trials[start : start + size] for start in range(0, len(trials), size)]
    return Returns(lambda: [[job_return(task, trial) for trial in chunk] for chunk in chunks])


def first_failure(task: WorkerTask, trials: Iterable[TrialRecord]) -> Exception | None:
    """Return what the first failed trial raised; a `DahpsError` with its text if that was in
    another process.
    """
    for trial in trials:
        if _STATUS.get(trial.state) is JobStatus.FAILED:
            try:
                _ = job_return(task, trial).return_value
            except Exception as error:
                return error.with_traceback(_since_run_job(error.__traceback__))
    return None


def _since_run_job(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the worker's frames: Hydra shows a user's own if few others come before
    them.
    """
    here = trace
    while here is not None and here.tb_frame.f_code.co_name != "run_job":
        here = here.tb_next
    return here or trace


def job_return(task: WorkerTask, trial: TrialRecord) -> JobReturn:
    """Return Hydra's record of a job, from the ledger if it ran in another process.

    Then its return value is what the ledger holds: numbers, and what else JSON can hold.
    """
    there = (task.returned or {}).get(trial.number)
    if there is not None:
        return there
    config = task.composed(trial, str(trial.number))
    with open_dict(config.hydra):
        config.hydra.runtime.output_dir = trial.output_dir
    app_config = config.copy()
    with open_dict(app_config):
        del app_config["hydra"]
    status = _STATUS.get(trial.state, JobStatus.UNKNOWN)
    error = DahpsError(f"trial #{trial.number} {trial.state.value}:\n{trial.error}")
    return JobReturn(
        overrides=task.overrides.of(trial.combination, trial.resource),
        cfg=app_config,
        hydra_cfg=OmegaConf.masked_copy(config, "hydra"),
        working_dir=trial.output_dir if _changes_folder(config) else os.getcwd(),
        task_name=config.hydra.job.name,
        status=status,
        _return_value=error if status is JobStatus.FAILED else trial.result,
    )


def _changes_folder(config: DictConfig) -> bool:
    changes: bool | None = config.hydra.job.chdir
    if changes is None and hasattr(version, "base_at_least"):  # in Hydra 1.3: 1.4 does nothing unasked
        return not version.base_at_least("1.2")
    return bool(changes)
