"""What a config or a training function holds that cannot be written down, or sent to the workers' jobs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import yaml
from cloudpickle import dumps
from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.singleton import Singleton
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from dahps_core.errors import ConfigurationError

_A_VALUE = (
    "A config holds values: let the training function make such an object, or hydra.utils.instantiate by "
    "the _target_ that the config names"
)
_INSIDE = (
    "The training function and Hydra's callbacks are sent to the jobs with everything they refer to: create "
    "what cannot be sent inside them, or in a module that they import"
)

_Parts = Iterable[tuple[str, Any]]


def as_yaml(config: DictConfig) -> str:
    """Return a config as Hydra writes it.

    Raises:
        ConfigurationError: It holds an object that no file can hold.
    """
    try:
        return OmegaConf.to_yaml(config)
    except Exception as error:
        where = _culprits(_values(config), yaml.dump)
        raise ConfigurationError(f"cannot be written down: {error}", where=where, hint=_A_VALUE) from error


def refuse_what_cannot_travel(context: HydraContext, config: DictConfig, function: TaskFunction) -> None:
    """Raise unless all that a launcher sends to its jobs can be pickled, by cloudpickle as they all do.

    Raises:
        ConfigurationError: With the places of what cannot be pickled, as far as they are known.
    """
    try:
        dumps((context, config, function, Singleton.get_state()))
    except Exception as error:
        what = f"cannot be sent to the workers' jobs: {error}"
        if where := _culprits([*_values(config), *_stored(ConfigStore.instance().repo)], dumps):
            raise ConfigurationError(what, where=where, hint=_A_VALUE) from error
        callbacks = [(type(callback).__name__, callback) for callback in context.callbacks.callbacks]
        where = _culprits([*_used_by(function), *callbacks], dumps)
        raise ConfigurationError(what, where=where or "the training function", hint=_INSIDE) from error


def _culprits(parts: _Parts, dump: Callable[[Any], object]) -> str:
    """Return the names of those that cannot be dumped."""
    return ", ".join(name for name, part in parts if not _works(dump, part))


def _works(dump: Callable[[Any], object], part: object) -> bool:
    try:
        dump(part)
    except Exception:  # an object's own method may raise anything
        return False
    return True


def _values(config: DictConfig) -> Iterator[tuple[str, Any]]:
    """Yield each value of a config, by its key."""
    waiting: list[tuple[str, Any]] = [("", OmegaConf.to_container(config))]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{key}.{name}" if key else str(name), below) for name, below in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{key}[{index}]", below) for index, below in enumerate(value)]
        else:
            yield key, value


def _stored(group: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each config in the ConfigStore, which is sent as a whole, by its path."""
    for name, entry in group.items():
        if isinstance(entry, ConfigNode):
            yield f"ConfigStore {path}{name}", entry.node
        else:
            yield from _stored(entry, f"{path}{name}/")


def _used_by(function: TaskFunction) -> Iterator[tuple[str, Any]]:
    """Yield what a function refers to, by name, as far as that is easily seen."""
    inner = inspect.unwrap(function)
    if inspect.isfunction(inner):
        used = inspect.getclosurevars(inner)
        for name, value in {**used.globals, **used.nonlocals}.items():
            yield f"{name}, used by {inner.__name__}", value
