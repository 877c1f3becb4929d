"""A program that a trial has started again: it evaluates that trial, and searches nothing."""

from __future__ import annotations

import copy
import os
from collections import defaultdict
from dataclasses import replace
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.utils import run_job
from hydra.errors import CompactHydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from dahps_core.environment.launchers import rank_in_trial
from dahps_core.errors import ConfigurationError, DahpsError
from dahps_core.trial.current import Trial, evaluating, is_evaluating, joined_trial
from dahps_core.trial.membership import ADVICE, Attempt
from hydra_plugins.dahps_sweeper._frozen import FrozenConfigLoader
from hydra_plugins.dahps_sweeper._program import Program
from hydra_plugins.dahps_sweeper._worker_task import log_beside

#: What of a trial's own Hydra config names the trial and its folder.
_OF_TRIAL = ("job", "run", "sweep")
#: What is the same in all processes of one program.
_SAME = {"app": "program", "config_name": "primary config", "arguments": "command line"}


def is_started_by_a_trial() -> bool:
    """Return whether a trial has started this process, which evaluates nothing yet."""
    return not is_evaluating() and Attempt.of_this_process() is not None


def evaluate_again(
    context: HydraContext, config: DictConfig, task_function: TaskFunction, arguments: list[str]
) -> Any:
    """Evaluate the trial that this process was started in; record nothing.

    Args:
        context: Hydra's, of this process.
        config: The multirun's, as this process has composed it.
        task_function: The user's.
        arguments: The command line's overrides.

    Returns:
        What the task function has returned.
    """
    try:
        trial, owner = _joined(Program.of_this_process(task_function, config, arguments))
    except DahpsError as error:
        raise CompactHydraException(str(error)) from error
    with evaluating(trial):
        config = _composed(owner, context, config)
        os.chdir(config.hydra.runtime.cwd)
        return run_job(
            hydra_context=replace(context, callbacks=Callbacks()),
            task_function=task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        ).return_value


def _joined(program: Program) -> tuple[Trial, dict[str, Any]]:
    """Return the trial and its owner's description; raises ConfigurationError if that runs another
    program.
    """
    attempt, trial = Attempt.of_this_process(), joined_trial()
    assert attempt
    assert trial
    owner = attempt.request("program") or {}
    for name, words in _SAME.items():
        here, there = getattr(program, name), owner.get(name)
        if here != there:
            raise ConfigurationError(
                f"this process was started in the trial, but the {words} differs: {here!r}, not {there!r}",
                where=f"trial {trial.number}",
                hint=ADVICE,
            )
    owner["ranks"] = attempt.request("trial")["ranks"]
    attempt.request("join")
    return replace(trial, _history=None), owner


def _composed(owner: dict[str, Any], context: HydraContext, config: DictConfig) -> DictConfig:
    """Compose the trial's config as its worker did, with the same values."""
    config = copy.deepcopy(config)
    OmegaConf.set_readonly(config.hydra, False)
    with open_dict(config.hydra):
        config.hydra.overrides.hydra = owner["hydra_overrides"]
    loader = FrozenConfigLoader(context.config_loader, config)
    loader.repository.take(owner["configs"])
    composed = loader.load_sweep_config(config, owner["overrides"])
    values = OmegaConf.create(owner["config"])
    rank = rank_in_trial(owner["ranks"])
    with read_write(composed), open_dict(composed):
        for key in _OF_TRIAL:
            composed.hydra[key].merge_with(values.hydra[key])
        composed.hydra.runtime.cwd = values.hydra.runtime.cwd
        composed.hydra.output_subdir = None
        log_beside(composed.hydra.job_logging, f"rank{rank}" if rank else f"process{os.getpid()}")
        del values["hydra"]
        composed.merge_with(values)
    OmegaConf.set_cache(composed, _cache(owner["resolved"]))
    return composed


def _cache(resolved: list[Any]) -> dict[str, Any]:
    cache: dict[str, Any] = defaultdict(dict)
    for name, arguments, value in resolved:
        cache[name][tuple(arguments)] = value
    return cache
