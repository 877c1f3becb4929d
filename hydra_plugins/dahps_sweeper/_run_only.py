"""Overrides that say how trials are run, and not what they are: they are no part of a combination.

They join Hydra's own overrides in the multirun's config, with which each trial is composed. So each multirun
of a ledger can have its own, and what one has finished is not run again by another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from hydra._internal.config_repository import IConfigRepository
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, read_write

from dahps_core.errors import ConfigurationError
from dahps_core.space import SearchSpace
from dahps_core.space.keys import bare
from dahps_core.space.overrides import to_overrides
from hydra_plugins.dahps_sweeper._options import is_plain_sweep, plain_option
from hydra_plugins.dahps_sweeper._reachable_configs import says_only_how_to_run

_OPTION = "hydra.sweeper.not_searched"
#: Keys that `hydra.job.override_dirname`, and so the folders of trials, leave out.
_EXCLUDE_KEYS = "hydra.job.config.override_dirname.exclude_keys"


def put_aside(
    config: DictConfig,
    arguments: Sequence[str],
    context: HydraContext,
    repository: IConfigRepository,
    searched: Collection[str],
) -> list[str]:
    """Return the arguments that belong to a combination; the others go into the config.

    Those are the ones that bring configs into `hydra`, such as `search@hydra.sweeper.search=digits`; that
    select a config in which there is nothing but `hydra`, such as `+cluster=large`; and that set what
    `hydra.sweeper.not_searched` lists. A plain sweep keeps the last two, as Hydra's basic sweeper does.

    Args:
        config: The multirun's, which is changed.
        arguments: The command line's overrides of the app's config.
        context: Hydra's context.
        repository: Where the configs are.
        searched: Keys that belong to combinations in any case.

    Raises:
        ConfigurationError: `not_searched` lists what nothing has, or what is swept over.
    """
    overrides = OverridesParser.create(config_loader=context.config_loader).parse_overrides(list(arguments))
    names = not_searched(config)
    _expect_known(names, overrides, config, repository)
    is_plain = is_plain_sweep(config.hydra.sweeper)
    aside: list[str] = []
    unnamed = list(config.hydra.job.config.override_dirname.exclude_keys)
    for one in overrides:
        is_kept = is_plain or one.get_key_element() in searched
        if not _is_hydras(one) and (is_kept or not _is_aside(one, names, repository)):
            continue
        if one.is_sweep_override():
            raise ConfigurationError(
                f"{one.input_line} sweeps over a key that is not searched",
                where="command line",
                hint=f"Give it one value, or take its key out of {_OPTION}",
            )
        aside.append(str(one.input_line))
        unnamed.append(one.key_or_group)
    if aside:
        with read_write(config.hydra.overrides):
            config.hydra.overrides.hydra += [*aside, *to_overrides({_EXCLUDE_KEYS: unnamed})]
    return [argument for argument in arguments if argument not in aside]


def not_searched(config: DictConfig) -> list[str]:
    """Return the keys that a person has listed.

    Raises:
        ConfigurationError: They are no list of keys.
    """
    names = plain_option(config.hydra.sweeper, "not_searched") or []
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ConfigurationError(
            f"{names!r} is not a list of keys", where=_OPTION, hint="Write [data_dir, paths]"
        )
    return names


def is_listed(key: str, names: Collection[str]) -> bool:
    """Return whether a key, or what it is a part of, is among the names."""
    name = bare(key).partition("@")[0]
    return any(name == one or name.startswith((f"{one}.", f"{one}/")) for one in names)


def refuse_searched(space: SearchSpace, names: Collection[str]) -> None:
    """Raise ConfigurationError if the space decides a key that is not to be searched."""
    for path, key, _ in space.levels():
        if is_listed(key, names):
            raise ConfigurationError(
                f"{key} is in the search space, and in {_OPTION} as well", where=path, hint="Keep one of them"
            )


def _is_hydras(override: Override) -> bool:
    return (override.package or "").startswith("hydra.") and not override.is_sweep_override()


def _is_aside(override: Override, names: Collection[str], repository: IConfigRepository) -> bool:
    key = override.get_key_element()
    if is_listed(key, names):
        return True
    value = None if override.is_sweep_override() else override.value()
    return isinstance(value, str) and says_only_how_to_run(repository, bare(key), str(value))


def _expect_known(
    names: Collection[str], overrides: Sequence[Override], config: DictConfig, repository: IConfigRepository
) -> None:
    known = [one.get_key_element() for one in overrides]
    for name in names:
        is_known = any(is_listed(key, [name]) for key in known) or repository.group_exists(name)
        if not is_known and not _has(config, name):
            raise ConfigurationError(
                f"neither the app's config nor the command line has {name}",
                where=_OPTION,
                hint="List keys as overrides have them, such as data_dir or paths.data_dir",
            )


def _has(config: DictConfig, name: str) -> bool:
    place: Any = OmegaConf.to_container(config)
    for part in name.split("."):
        if not isinstance(place, Mapping) or part not in place:
            return False
        place = place[part]
    return True


def without_listed(
    configs: Mapping[str, Mapping[str, Any]], names: Collection[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the configs of trials by name, without what is listed: a change of it is none of the search."""
    for config, says in configs.items():
        yield (
            config,
            {
                key: value
                for key, value in says.items()
                if not is_listed(key.removeprefix("defaults."), names)
            },
        )
