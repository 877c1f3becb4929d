"""From the config and the command line to a `Search`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from dahps_core.errors import ConfigurationError, Fault, SearchSpaceError
from dahps_core.ledger import Search
from dahps_core.space import SearchSpace
from dahps_core.space.keys import bare
from dahps_core.space.overrides import override_faults
from dahps_core.space.path import shown
from hydra_plugins.dahps_sweeper._options import is_plain_sweep, plain_option
from hydra_plugins.dahps_sweeper._overrides import Argument
from hydra_plugins.dahps_sweeper._strategy import read_brackets


def read_search(options: DictConfig, arguments: Mapping[str, Argument]) -> Search:
    """Return the search that the options and the command line describe.

    Args:
        options: `hydra.sweeper`, in its place in the config.
        arguments: The command line's.

    Raises:
        SearchSpaceError: With all faults of the tree.
        ConfigurationError: An option is invalid.
    """
    tree = _tree(options)
    if tree is not None and arguments:
        _refuse_clashes(tree, arguments)
        tree = _with_arguments(tree, arguments)
    elif tree is None:
        # The product, in the order of the command line: what it repeats is run as often.
        tree = {"root": _with_levels(None, arguments), "check_unique": False}
    space = SearchSpace.from_config(tree)
    if faults := override_faults(space):
        raise SearchSpaceError(faults)
    strategy = options.strategy.name or ("grid" if is_plain_sweep(options) else "random")
    return Search(
        space=space,
        strategy=strategy,
        brackets=read_brackets(options, strategy),
        direction=options.direction.value,
        metric=options.metric,
        seed=options.seed,
    )


def _tree(options: DictConfig) -> Any:
    """Return the `search` option as plain Python; None where there is none."""
    search = plain_option(options, "search")
    return _imported(search) if isinstance(search, str) else search


def _imported(reference: str) -> Any:
    module_name, _, attribute = reference.partition(":")
    if not all([*module_name.split("."), attribute]):  # nor a relative import: relative to what?
        raise ConfigurationError(
            f"{reference!r} is neither a mapping nor a reference to one",
            where="hydra.sweeper.search",
            hint="Write module:attribute, such as config:experiment_config",
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigurationError(
            f"cannot import {module_name!r} ({error})",
            where="hydra.sweeper.search",
            hint="Put the module beside the app, or install it",
        ) from error
    if not hasattr(module, attribute):
        raise ConfigurationError(
            f"the module {module_name!r} has no {attribute!r}", where="hydra.sweeper.search"
        )
    return getattr(module, attribute)


def _refuse_clashes(tree: Any, arguments: Mapping[str, Argument]) -> None:
    """Refuse a key that both the tree and the command line set; a fixed override may replace a common value.

    Raises:
        SearchSpaceError: With all clashes; or with the tree's own faults, at the places where it has them.
    """
    is_without_root = isinstance(tree, Mapping) and not {"root", "key"} & set(tree)
    space = SearchSpace.from_config({"root": None, **tree} if is_without_root else tree)
    places = {bare(key): path for path, key, _ in space.levels()}
    faults = [
        Fault(
            places[bare(key)],
            f"{shown(key)} is set here and on the command line",
            "keep one of them; to draw from one branch, use hydra.sweeper.only",
        )
        for key, argument in arguments.items()
        if bare(key) in places and (argument.is_sweep or key not in space.common)
    ]
    if faults:
        raise SearchSpaceError(faults)


def _with_arguments(tree: Mapping[str, Any], arguments: Mapping[str, Argument]) -> Any:
    """Add the arguments: fixed overrides are common to all trials, sweeps are levels above the
    tree's root.
    """
    sweeps = {key: argument for key, argument in arguments.items() if argument.is_sweep}
    fixed = {key: argument.values[0] for key, argument in arguments.items() if not argument.is_sweep}
    root = {"root": _with_levels(tree.get("root"), sweeps)} if "root" in tree or sweeps else {}
    return {**tree, "common": {**(tree.get("common") or {}), **fixed}, **root}


def _with_levels(root: Any, arguments: Mapping[str, Argument]) -> Any:
    for key, argument in reversed(list(arguments.items())):
        choices = {"values": argument.values} if argument.interval is None else argument.interval
        root = {"key": key, **choices, "default": root}
    return root
