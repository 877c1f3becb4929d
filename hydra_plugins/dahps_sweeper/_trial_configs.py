"""The configs of trials before any of them runs: a mistake is found before a job waits for hours."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, open_dict

from dahps_core.errors import ConfigurationError
from dahps_core.ledger import Search
from dahps_core.model.combination import Combination, Value
from dahps_core.space import SearchSpace
from dahps_core.space.overrides import shown_overrides
from dahps_core.trial.current import Trial, evaluating
from hydra_plugins.dahps_sweeper._overrides import TrialOverrides
from hydra_plugins.dahps_sweeper._reachable_configs import keys_without_value
from hydra_plugins.dahps_sweeper._worker_task import is_named_by_number, output_dir

log = logging.getLogger(__name__)


class TrialConfigs:
    """Composes what trials would be given.

    Args:
        loader: Of the configs as they are now.
        config: The multirun's.
        search: What is searched.
        overrides: How those of a trial are written.
    """

    def __init__(
        self, loader: ConfigLoader, config: DictConfig, search: Search, overrides: TrialOverrides
    ) -> None:
        self._loader = loader
        self._config = config
        self._search = search
        self._overrides = overrides

    def of(self, combination: Mapping[str, Value]) -> DictConfig:
        """Compose the config of a trial."""
        brackets = self._search.brackets
        resource = brackets.levels[0] if brackets else None
        return self._loader.load_sweep_config(self._config, self._overrides.of(combination, resource))

    def check(self, only: dict[str, Any] | None, *, is_plain: bool) -> None:
        """Compose the first trial, or all those of a plain sweep, and raise for what cannot be run.

        Args:
            only: The branch that is drawn from.
            is_plain: Whether this is a plain sweep.

        Raises:
            ConfigurationError: No folder can have the name of a trial's, or two trials have one folder.
        """
        # A mistake that all trials share would be found by the jobs too, after hours in the queue.
        space = self._search.space if only is None else self._search.space.only(only)
        folders: dict[str, int] = {}
        most = self._config.hydra.sweeper.max_trials if is_plain else 1
        for number, combination in enumerate(islice(space, most)):
            config = self._numbered(combination, number, str(number))
            folder = output_dir(config)
            if (other := folders.setdefault(folder, number)) != number:
                raise _shared(folder, f"#{other} and #{number}, {shown_overrides(combination)}")
            if is_plain:
                continue
            if keys := keys_without_value(config):
                log.warning(
                    "%s: ??? in the first combination. Code that reads it fails: set it in the search space "
                    "or its `common`, or on the command line",
                    ", ".join(keys),
                )
            if not is_named_by_number(config):
                self._refuse_shared_folders(space)

    def _refuse_shared_folders(self, space: SearchSpace) -> None:
        """Compare the first trial with those that differ from it in one level, or in the repetition alone.

        What is left, such as two values that the name writes alike, is found when a trial claims its folder.
        """
        first = space[0]
        folder = self._folder_of(first, 0)
        if space.repetitions > 1 and self._folder_of(first, 1, repetition=1) == folder:
            raise _shared(folder, f"{_shown(first, space)}, and its repetition")
        for other in _neighbours(space):
            if self._folder_of(other, 1) == folder:
                raise _shared(folder, f"{_shown(first, space)}, and {_shown(other, space)}")

    def _folder_of(self, combination: Combination, number: int, repetition: int = 0) -> str:
        with evaluating(Trial(number, 1, repetition, combination, Path())):
            # In a search the id is that of a worker's job, which runs many trials.
            return output_dir(self._numbered(combination, number, "0"))

    def _numbered(self, combination: Combination, number: int, job_id: str) -> DictConfig:
        config = self.of(combination)
        with open_dict(config.hydra.job):
            config.hydra.job.num, config.hydra.job.id = number, job_id
        return config


def _shared(folder: str, trials: str) -> ConfigurationError:
    return ConfigurationError(
        f"two trials would write into one folder, {folder}: {trials}",
        where="hydra.sweep.subdir",
        hint="Add ${hydra.job.num} to the name, so that each trial has a folder of its own",
    )


def _shown(combination: Combination, space: SearchSpace) -> str:
    return shown_overrides({key: value for key, value in combination.items() if key not in space.common})


def _neighbours(space: SearchSpace) -> Iterator[Combination]:
    """Yield for each level of the first combination the next one that differs from there on."""
    above: dict[str, Value] = {}
    for key, value in space[0].items():
        around = space.only(above)
        above[key] = value
        n_same = space.only(above).size
        if n_same < around.size:
            yield around[n_same]
