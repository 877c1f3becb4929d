"""The sweeper's options, typed like keys of the app's config: `+detach=true`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from hydra.types import RunMode
from omegaconf import DictConfig

from dahps_core.errors import ConfigurationError
from dahps_core.ledger.folder.configs import Configs
from dahps_core.space.keys import bare
from dahps_core.space.overrides import shown_value
from dahps_core.strategies import STRATEGIES
from hydra_plugins.dahps_sweeper._frozen import FrozenConfigLoader
from hydra_plugins.dahps_sweeper._overrides import Argument
from hydra_plugins.dahps_sweeper.dahps_sweeper import DahpsSweeperConf, StrategyConf

#: What apps commonly call keys of their own, and people add by a `+`. `strategy` is one, unless its value or
#: a key in it is the sweeper's.
_USUAL_KEYS = {"search", "params", "strategy", "metric", "seed", "patience"}
_OPTIONS = (
    {one.name for one in fields(DahpsSweeperConf)} - {"_target_", "_recursive_", "defaults"} - _USUAL_KEYS
)
_OPTIONS |= {f"strategy.{one.name}" for one in fields(StrategyConf)}


def refuse_misplaced_options(
    arguments: Mapping[str, Argument], config: DictConfig, configs: Configs, loader: FrozenConfigLoader
) -> None:
    """Raise if an argument adds a key to the app's config that is an option of the sweeper.

    Hydra suggests the `+` where `hydra.sweeper.` was left out. The option would have no effect, and
    become a part of each combination. A key that a config of the app has, or refers to, is the app's.

    Raises:
        ConfigurationError: With what to type instead.
    """
    for key, argument in arguments.items():
        value = argument.values[0] if argument.values else None
        option = _option_of(key, value)
        if option is None or loader.repository.group_exists(bare(key).partition("@")[0]):
            continue
        name = bare(key).partition(".")[0]
        if name not in _without_arguments(config, loader) and not _is_of_app(name, configs):
            text = f"={shown_value(value)}"
            raise ConfigurationError(
                f"{key}{text} would add {bare(key)} to the app's config and to the search",
                where="command line",
                hint=f"Type hydra.sweeper.{option}{text}. If the app has such a key of its own, write it "
                f"into its config (such as {bare(key)}: null), and leave the + out",
            )


def _without_arguments(config: DictConfig, loader: FrozenConfigLoader) -> DictConfig:
    overrides = list(config.hydra.overrides.hydra)
    return loader.load_configuration(config.hydra.job.config_name, overrides, run_mode=RunMode.MULTIRUN)


def _option_of(key: str, value: Any) -> str | None:
    """Return the option that an added key is named after; None if it is none."""
    name = bare(key).removeprefix("sweeper.")
    if not key.startswith("+"):
        return None
    if name == "strategy" and isinstance(value, str) and value in STRATEGIES:
        return "strategy.name"
    return name if name in _OPTIONS else None


def _is_of_app(name: str, configs: Configs) -> bool:
    """Return whether a config that trials may be composed of has a key, or refers to it."""
    refers = re.compile(rf"\$\{{\s*(oc\.select:\s*)?{name}\b")
    return any(
        key.partition(".")[0] == name or any(map(refers.search, _texts(value)))
        for content in configs.values()
        for key, value in content.items()
    )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for element in value:
            yield from _texts(element)
