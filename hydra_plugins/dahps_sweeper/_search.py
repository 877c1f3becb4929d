"""From the config and the command line to a `Search`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.types import HydraContext
from omegaconf import DictConfig

from dahps_core.errors import ConfigurationError, SearchSpaceError
from dahps_core.ledger import Search
from dahps_core.overrides import override_faults
from dahps_core.space import SearchSpace
from hydra_plugins.dahps_sweeper._options import plain_option
from hydra_plugins.dahps_sweeper._strategy import read_brackets


def read_search(options: DictConfig, arguments: Sequence[str], context: HydraContext) -> Search:
    """What the options and the command line ask for.

    Args:
        options: `hydra.sweeper`, in its place in the config.
        arguments: The command line's overrides of the app's config: fixed ones, and sweeps.
        context: Hydra's context.

    Raises:
        SearchSpaceError: With all faults of the tree.
        ConfigurationError: If an option cannot be meant.
    """
    overrides = OverridesParser.create(config_loader=context.config_loader).parse_overrides(list(arguments))
    space = SearchSpace.from_config(_with_overrides(_tree(options), overrides))
    if faults := override_faults(space):
        raise SearchSpaceError(faults)
    return Search(
        space=space,
        strategy=options.strategy.name,
        brackets=read_brackets(options),
        direction=options.direction.value,
        metric=options.metric,
        seed=options.seed,
    )


def _tree(options: DictConfig) -> Any:
    """The `search` option as plain Python; an empty space where there is none."""
    search = plain_option(options, "search")
    if search is None:
        return {"root": None}
    return _imported(search) if isinstance(search, str) else search


def _imported(reference: str) -> Any:
    module_name, _, attribute = reference.partition(":")
    if not all([*module_name.split("."), attribute]):  # nor a relative import: relative to what?
        raise ConfigurationError(
            f"{reference!r} is neither a mapping nor the place of one",
            where="hydra.sweeper.search",
            mend="Write module:attribute, such as config:experiment_config",
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigurationError(
            f"cannot import {module_name!r} ({error})",
            where="hydra.sweeper.search",
            mend="The module must lie beside the app or be installed",
        ) from error
    if not hasattr(module, attribute):
        raise ConfigurationError(
            f"the module {module_name!r} has no {attribute!r}", where="hydra.sweeper.search"
        )
    return getattr(module, attribute)


def _with_overrides(tree: Any, overrides: Sequence[Override]) -> Any:
    """Fixed overrides are common to all trials; sweeps are levels above the tree's root."""
    if not (isinstance(tree, Mapping) and isinstance(tree.get("common", {}), (Mapping, type(None)))):
        return tree  # SearchSpace says what is wrong with it
    common = dict(tree.get("common") or {})
    levels: dict[str, list[Any]] = {}
    for override in overrides:
        key = override.get_key_element()
        if override.is_sweep_override():
            levels[key] = _values(override)
        else:
            common[key] = _plain(override.value())
    root = tree.get("root")
    for key, values in reversed(levels.items()):
        root = {"key": key, "values": values, "default": root}
    return {**tree, "common": common, **({"root": root} if "root" in tree or levels else {})}


def _values(override: Override) -> list[Any]:
    if not override.is_discrete_sweep():
        raise ConfigurationError(
            f"{override.input_line!r} sweeps over an interval, which has no end of values",
            mend="List the values, or use range(start, stop, step)",
        )
    return [_plain(value) for value in override.sweep_iterator()]


def _plain(value: Any) -> Any:
    """The parser's value without the quotes that it remembers."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(element) for element in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(element) for key, element in value.items()}
    return value
