"""The options of `hydra.sweeper`, checked before a ledger is made that a mended command would not fit."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dahps_core.errors import ConfigurationError
from dahps_core.worker import WorkerOptions
from hydra_plugins.dahps_sweeper._launchers import Place


def worker_options(options: DictConfig, place: Place) -> WorkerOptions:
    """How the workers work.

    Raises:
        ConfigurationError: If an option cannot be meant.
    """
    if options.n_workers < 1:
        raise ConfigurationError(f"n_workers is {options.n_workers}", mend="It must be at least 1")
    if not options.patience >= 0:
        raise ConfigurationError(f"patience is {options.patience}", mend="Give seconds")
    if options.detach and place.submitit_folder is None:
        raise ConfigurationError(
            "detach=true: the workers of this launcher end with the process that started them",
            mend="Use hydra/launcher=submitit_slurm or submitit_local, or leave the option out",
        )
    return WorkerOptions(
        max_trials=options.max_trials,
        max_attempts=options.max_attempts,
        stop_after_failures=options.stop_after_failures,
        heartbeat_s=options.heartbeat,
        lease_s=options.lease,
        isolate=_isolates(options.isolation.value, place),
        trial_timeout_s=options.trial_timeout,
        trial_time_s=options.trial_time,
        grace_s=options.grace,
        keep_checkpoints=options.keep_checkpoints,
        max_resource_total=options.max_resource_total,
        stop=options.strategy.stop,
        stop_after=options.strategy.stop_after,
    )


def _isolates(isolation: str, place: Place) -> bool:
    return not place.is_here if isolation == "auto" else isolation == "process"


def read_only(options: DictConfig) -> dict[str, Any] | None:
    """The branch that this multirun draws from: for some keys a value, or a list of those allowed.

    Raises:
        ConfigurationError: If it cannot be meant; whether the space has it is for the space to say.
    """
    only = plain_option(options, "only")
    if only is not None and not isinstance(only, dict):
        raise ConfigurationError(
            f"{only!r} is no mapping",
            where="hydra.sweeper.only",
            mend="Write {key: value} or {key: [value, value]}, with keys and values of the search space",
        )
    return only


def plain_option(options: DictConfig, name: str) -> Any:
    """An option as plain Python, with all its interpolations resolved.

    Raises:
        ConfigurationError: One of them cannot be, or a value is missing.
    """
    try:
        option = options[name]
        if OmegaConf.is_config(option):
            option = OmegaConf.to_container(option, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigurationError(str(error), where=f"hydra.sweeper.{name}") from error
    return option
