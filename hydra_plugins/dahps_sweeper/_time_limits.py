"""The time limit of SLURM's jobs: long enough to do anything, and followed by another start."""

from __future__ import annotations

import copy

from hydra._internal.config_repository import IConfigRepository
from omegaconf import DictConfig, OmegaConf

from dahps_core.errors import ConfigurationError
from hydra_plugins.dahps_sweeper._launchers import Place
from hydra_plugins.dahps_sweeper._reachable_configs import is_set_by_person

#: Seconds by which SLURM may send the signal before a job's limit too early, as its manual says of --signal.
SLURM_EARLY_S = 60
#: How often a job is put back into the queue at its time limit, unless a person says otherwise.
MAX_NUM_TIMEOUT = 100

_KEY = "hydra.launcher.max_num_timeout"
_PROVIDER = "submitit_launcher"


def with_time_limits(
    config: DictConfig, repository: IConfigRepository, place: Place, is_plain: bool
) -> DictConfig:
    """Return the config of a multirun in which the jobs of a search in SLURM continue after their time limit.

    submitit abandons them by default, as it cannot know whether a function resumes. Workers do.

    Args:
        config: The multirun's.
        repository: Of the configs: what one of them says of it holds.
        place: Where the workers run.
        is_plain: Whether it is a plain sweep.

    Raises:
        ConfigurationError: The limit is too short.
    """
    if not place.is_slurm:
        return config
    _refuse_short_limit(config.hydra.launcher)
    is_default = config.hydra.launcher.get("max_num_timeout") == 0
    if is_plain or not is_default or is_set_by_person(repository, config, _KEY, _PROVIDER):
        return config
    config = copy.deepcopy(config)
    OmegaConf.set_readonly(config.hydra, False)  # Hydra 1.4 has frozen it
    config.hydra.launcher.max_num_timeout = MAX_NUM_TIMEOUT
    return config


def _refuse_short_limit(launcher: DictConfig) -> None:
    """Raise if a job of SLURM would be signalled to end as soon as it starts: it would restart for ever."""
    limit_min, delay_s = launcher.get("timeout_min"), launcher.get("signal_delay_s")
    # Parameters that are passed to SLURM unchanged count there, and not these.
    given = launcher.get("additional_parameters") or {}
    if limit_min is None or delay_s is None or {"time", "signal"} & set(given):
        return
    if 60 * limit_min - delay_s < SLURM_EARLY_S:
        least_min = -(-(delay_s + SLURM_EARLY_S) // 60)
        raise ConfigurationError(
            f"a job of {limit_min} min, signalled {delay_s} s before its limit, has no time to work",
            where="hydra.launcher.timeout_min",
            hint=f"Give at least {least_min} min, or set hydra.launcher.signal_delay_s to fewer seconds",
        )
