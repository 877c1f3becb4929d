"""The user's program: started by a person, and perhaps again by a trial, for its further ranks."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.machinery import ModuleSpec
from typing import Any

from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass(frozen=True)
class Program:
    """How the sweeper's program was started.

    Attributes:
        app: The file of the task function.
        config_name: Of its primary config.
        arguments: The overrides on its command line, without Hydra's own.
        argv: Its `sys.argv`.
        module: What `python -m` has run; None if a file was.
        file: The file of its `__main__`; None if it has none.
    """

    app: str
    config_name: str | None
    arguments: Sequence[str]
    argv: Sequence[str]
    module: str | None
    file: str | None

    @classmethod
    def of_this_process(
        cls, task_function: TaskFunction, config: DictConfig, arguments: Sequence[str]
    ) -> Program:
        """Describe the program that this process runs."""
        program, *rest = sys.argv or [""]
        path = os.path.abspath(program)
        main = sys.modules["__main__"]
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        return cls(
            app=os.path.realpath(_source_of(task_function) or program),
            config_name=config.hydra.job.config_name,
            arguments=[one for one in arguments if not one.lstrip("+~").startswith(("hydra.", "hydra/"))],
            argv=[path if os.path.exists(path) else program, *rest],
            module=spec and spec.name,
            file=file and os.path.abspath(file),
        )

    def described(self, config: DictConfig, loader: Any) -> dict[str, Any]:
        """Describe one of its trials, as JSON's values, for the same program that the trial starts.

        Args:
            config: The trial's.
            loader: A `FrozenConfigLoader`, which has composed it.
        """
        return {
            **asdict(self),
            "overrides": OmegaConf.to_container(config.hydra.overrides.task),
            "hydra_overrides": OmegaConf.to_container(config.hydra.overrides.hydra),
            "configs": loader.repository.answers(),
            "config": OmegaConf.to_yaml(config),
            "resolved": _resolved(config),
        }

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make this process, which a launcher has started, look like the program's own.

        Libraries that start the program again, for further ranks, find in it what to start, and spawned
        processes what to import.
        """
        main = sys.modules["__main__"]
        before = sys.argv, getattr(main, "__spec__", None), getattr(main, "__file__", None)
        sys.argv = [*self.argv]
        main.__spec__ = ModuleSpec(self.module, None) if self.module else None
        main.__file__ = self.file
        try:
            yield
        finally:
            sys.argv, main.__spec__, main.__file__ = before


def _source_of(function: object) -> str | None:
    while isinstance(function, functools.partial):
        function = function.func
    if callable(function):
        function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    return code and str(code.co_filename)


def _resolved(config: DictConfig) -> list[Any]:
    """Return the cached results of resolvers such as `now`."""
    return [
        [name, list(arguments), value]
        for name, answers in OmegaConf.get_cache(config).items()
        for arguments, value in answers.items()
        if isinstance(value, str | int | float | bool | None)
    ]
