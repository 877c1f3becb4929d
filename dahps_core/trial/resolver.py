"""`${dahps:number}` and its like, in every process that has both this package and OmegaConf."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def of_trial(name: str, *default: Any) -> Any:
    """Return the value of `${dahps:name}`.

    Args:
        name: Of an attribute of the current trial.
        default: In its place outside of a search, and where the attribute has no value.
    """
    from dahps_core.trial.current import current_trial

    trial = current_trial()
    values: dict[str, Callable[[], Any]] = {
        "number": lambda: trial.number,
        "attempt": lambda: trial.attempt,
        "repetition": lambda: trial.repetition,
        "level": lambda: trial.level,
        "resource": lambda: trial.resource,
        "checkpoint_dir": lambda: str(trial.checkpoint_dir),
    }
    if name not in values:
        raise ValueError(f"${{dahps:{name}}}: a trial has no {name!r}, it has {', '.join(values)}")
    # A default may be null, and launchers pickle copies, in which a sentinel would not be recognised.
    if default and trial.number is None:
        return default[0]
    value = values[name]()
    return default[0] if default and value is None else value


def register_when_imported() -> None:
    """Register the resolver, now or as soon as OmegaConf is imported: the core itself does not need it."""
    if "omegaconf" in sys.modules:
        _register(sys.modules["omegaconf"])
    else:
        sys.meta_path.insert(0, _Finder())


def _register(omegaconf: ModuleType) -> None:
    # The one function's name was another function's until OmegaConf 2.4, which warns of the older name.
    is_new = tuple(map(int, omegaconf.__version__.split(".")[:2])) >= (2, 4)
    config = omegaconf.OmegaConf
    register = config.register_resolver if is_new else config.register_new_resolver
    register("dahps", of_trial, replace=True)


class _Finder(MetaPathFinder):
    """Sees the first import of OmegaConf, and registers the resolver when it is complete."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "omegaconf":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                _register(module)

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec
