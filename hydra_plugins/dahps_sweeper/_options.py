"""The options of `hydra.sweeper`, checked before a ledger is made that a corrected command would not fit."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dahps_core.errors import ConfigurationError
from dahps_core.worker.worker import WorkerOptions
from hydra_plugins.dahps_sweeper._launchers import Place

#: How often a trial may run in a search.
MAX_ATTEMPTS = 3


def is_plain_sweep(options: DictConfig) -> bool:
    """Return whether a multirun names no search space, no ledger and no strategy: then it behaves as with
    Hydra's basic sweeper, and runs each combination of the command line once and in its order.
    """
    return options.search is None and options.ledger is None and options.strategy.name is None


def worker_options(options: DictConfig, place: Place) -> WorkerOptions:
    """Return the workers' options.

    Raises:
        ConfigurationError: An option is invalid.
    """
    if options.n_workers < 1:
        raise ConfigurationError(f"n_workers is {options.n_workers}", hint="It must be at least 1")
    if not options.patience >= 0:
        raise ConfigurationError(f"patience is {options.patience}", hint="Give seconds")
    is_plain = is_plain_sweep(options)
    _refuse_batches(options, is_plain)
    if options.detach and not place.outlives_sweeper:
        raise ConfigurationError(
            "hydra.sweeper.detach=true: the workers of this launcher end with the process that started them",
            hint="Use hydra/launcher=submitit_slurm, submitit_local or rq, or leave the option out",
        )
    return WorkerOptions(
        max_trials=options.max_trials,
        max_attempts=_max_attempts(options, is_plain),
        stop_after_failures=None if is_plain else options.stop_after_failures,
        heartbeat_s=options.heartbeat,
        lease_s=options.lease,
        isolate=_isolates(options.isolation.value, place),
        trial_timeout_s=options.trial_timeout,
        trial_time_s=options.trial_time,
        grace_s=options.grace,
        keep_checkpoints=options.keep_checkpoints,
        max_resource_total=options.max_resource_total,
        max_time_s=options.max_time,
        stop=options.strategy.stop,
        stop_after=options.strategy.stop_after,
    )


def _max_attempts(options: DictConfig, is_plain: bool) -> int:
    if options.max_attempts is not None:
        return int(options.max_attempts)
    return 1 if is_plain else MAX_ATTEMPTS


def _refuse_batches(options: DictConfig, is_plain: bool) -> None:
    size = options.max_batch_size
    if size is None:
        return
    if not is_plain or options.detach:
        raise ConfigurationError(
            "only a plain sweep without detach has batches",
            where="max_batch_size",
            hint="Leave it out; n_workers says how many trials run at the same time",
        )
    if size < 1:
        raise ConfigurationError(f"max_batch_size is {size}", hint="It must be at least 1")


def _isolates(isolation: str, place: Place) -> bool:
    return not place.is_here if isolation == "auto" else isolation == "process"


def read_only(options: DictConfig) -> dict[str, Any] | None:
    """Return the branch that this multirun draws from: for some keys a value, or a list of allowed ones.

    Raises:
        ConfigurationError: It is invalid; whether the space has it is checked by the space.
    """
    only = plain_option(options, "only")
    if only is not None and not isinstance(only, dict):
        raise ConfigurationError(
            f"{only!r} is not a mapping",
            where="hydra.sweeper.only",
            hint="Write {key: value} or {key: [value, value]}, with keys and values of the search space",
        )
    return only


def plain_option(options: DictConfig, name: str) -> Any:
    """Return an option as plain Python, with all its interpolations resolved.

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
