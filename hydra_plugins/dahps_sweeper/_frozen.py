"""The configs as they were when a multirun began: later edits are for the next one.

A job composes the configs of its trials when it runs, hours after it was submitted. All that it reads of
files until then is kept in the config loader that travels with it.
"""

from __future__ import annotations

import builtins
import copy
import os
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf, read_write


class FrozenConfigLoader(ConfigLoaderImpl):
    """Composes as the loader that it is made of, with what it was answered first.

    Kept are the configs that were read: `reached_configs` reads all that trials may compose.

    Args:
        loader: Hydra's.
        config: The multirun's: its command line may have changed the search path.

    Attributes:
        repository: Of the kept configs.
        sweep_dir: What `hydra.sweep.dir` is replaced with; absolute, as far as that is known before a trial.
    """

    repository: _FrozenRepository

    def __init__(self, loader: ConfigLoader, config: DictConfig) -> None:
        super().__init__(loader.get_search_path())
        overrides: Any = OmegaConf.to_container(config.hydra.overrides.hydra)
        name = config.hydra.job.config_name
        _, repository = self._parse_overrides_and_create_caching_repo(name, overrides)
        self.repository = _FrozenRepository(repository.get_sources())
        self._given_dir = _raw_sweep_dir(config)
        is_relative = not self._given_dir.startswith(("/", "${"))
        here = os.path.join(os.getcwd(), "").replace("${", "\\${")
        self.sweep_dir = f"{here}{self._given_dir}" if is_relative else self._given_dir

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Compose a trial's config, with the sweep's folder, unless the trial names another one."""
        config = super().load_sweep_config(master_config, sweep_overrides)
        if _raw_sweep_dir(config) == self._given_dir:
            put_sweep_dir(config, self.sweep_dir)
        return config


def put_sweep_dir(config: DictConfig, text: str) -> None:
    """Set `hydra.sweep.dir`, whose text may have interpolations."""
    with read_write(config.hydra.sweep):
        config.hydra.sweep.dir = text


def has_clock_in_sweep_dir(config: DictConfig) -> bool:
    """Return whether `${now:...}` made the name of the sweep's folder, so that no person chose it."""
    folder = config.hydra.sweep.dir
    probe = copy.deepcopy(config)
    answers = copy.deepcopy(OmegaConf.get_cache(config))
    answers["now"] = dict.fromkeys(answers["now"], "another time")
    OmegaConf.set_cache(probe, answers)
    return bool(probe.hydra.sweep.dir != folder)


def _raw_sweep_dir(config: DictConfig) -> str:
    raw: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    return str(raw["dir"])


class _FrozenRepository(ConfigRepository):
    def __init__(self, sources: list[ConfigSource]) -> None:
        # Those of the ConfigStore are no files, and travel with their own objects.
        self.sources = [one if one.scheme() == "structured" else _FrozenSource(one) for one in sources]

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        """Do nothing: what `hydra.searchpath` adds is among the sources already."""

    def answers(self) -> list[Any]:
        """Return what was answered so far, as JSON's values."""
        return [one.answers() for one in self.sources if isinstance(one, _FrozenSource)]

    def take(self, answers: list[Any]) -> None:
        """Answer from now on as in another process that runs the same program."""
        sources = [one for one in self.sources if isinstance(one, _FrozenSource)]
        for source, taken in zip(sources, answers, strict=True):
            source.take(taken)

    def __deepcopy__(self, memo: dict[int, Any]) -> _FrozenRepository:
        return self  # Hydra takes a copy to compose each config with: this one is the same afterwards


class _FrozenSource(ConfigSource):
    """Gives each answer as the source gave it first."""

    def __init__(self, source: ConfigSource) -> None:
        self.provider = source.provider
        self.path = source.path
        self._source = source
        self._answers: dict[tuple[Any, ...], Any] = {}

    def scheme(self) -> str:  # type: ignore[override]  # a static method of each class
        return self._source.scheme()

    def load_config(self, config_path: str) -> ConfigResult:
        answer: ConfigResult = copy.deepcopy(self._first_answer("load_config", config_path))
        return answer  # a copy, since composing changes it

    def is_group(self, config_path: str) -> bool:
        return bool(self._first_answer("is_group", config_path))

    def is_config(self, config_path: str) -> bool:
        return bool(self._first_answer("is_config", config_path))

    def available(self) -> bool:
        return bool(self._first_answer("available"))

    def list(self, config_path: str, results_filter: ObjectType | None) -> builtins.list[str]:
        # Its name: the answers are sent to other processes as JSON.
        return [*self._first_answer("list", config_path, results_filter and results_filter.name)]

    def answers(self) -> builtins.list[Any]:
        """Return what was answered so far, as JSON's values."""
        return [[*key, _as_json(answer)] for key, answer in self._answers.items()]

    def take(self, answers: builtins.list[Any]) -> None:
        """Answer so from now on."""
        for *key, answer in answers:
            self._answers[tuple(key)] = _from_json(answer)

    def _first_answer(self, question: str, *about: Any) -> Any:
        key = (question, *about)
        if key not in self._answers:
            if question == "list":
                about = about[0], about[1] and ObjectType[about[1]]
            self._answers[key] = getattr(self._source, question)(*about)
        return self._answers[key]


def _as_json(answer: Any) -> Any:
    if not isinstance(answer, ConfigResult):
        return answer
    return {
        "provider": answer.provider,
        "path": answer.path,
        "config": OmegaConf.to_yaml(answer.config),
        "header": answer.header,
        "is_schema_source": answer.is_schema_source,
    }


def _from_json(answer: Any) -> Any:
    if not isinstance(answer, dict):
        return answer
    return ConfigResult(**{**answer, "config": OmegaConf.create(answer["config"])})
