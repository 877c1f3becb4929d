from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from dahps_core.space import SearchSpace
from dahps_core.space.overrides import override_faults, to_overrides
from train import build_model


@pytest.fixture(autouse=True)
def conf(app: Path) -> Iterator[None]:
    with initialize_config_dir(config_dir=str(app / "conf"), version_base="1.3"):
        yield


def search(name: str) -> Any:
    config = compose("config", [f"search@hydra.sweeper.search={name}"], return_hydra_config=True)
    return OmegaConf.to_container(config.hydra.sweeper.search)


def composed(path: Mapping[str, Any]) -> DictConfig:
    return compose("config", [f"{key}={value}" for key, value in path.items()])


@pytest.mark.parametrize("experiment_type", ["baseline", "fourier", "shearlet"])
def test_every_value_of_the_tree_composes_and_runs_a_forward_pass(experiment_type: str) -> None:
    space = SearchSpace.from_config(search("digits")).only({"experiment_type": experiment_type})
    for path in space.sample():
        cfg = composed(path)
        images = torch.rand(2, 1, cfg.data.crop_size, cfg.data.crop_size)
        assert cfg.data.crop_size <= cfg.data.image_size
        assert build_model(cfg)(images).shape == (2, 10), path


def test_the_tree_is_a_search_space_without_faults() -> None:
    space = SearchSpace.from_config(search("digits"))
    assert space.size == 2_112 * 1_601 * 2
    assert not override_faults(space)


def test_a_combination_becomes_the_config_that_it_names() -> None:
    space = SearchSpace.from_config(search("digits"))
    for combination in (space[0], space[-1]):
        cfg = compose("config", to_overrides(combination))
        for key, value in combination.items():
            if "." in key:
                assert OmegaConf.select(cfg, key) == value


def test_the_large_tree_has_all_its_combinations() -> None:
    assert SearchSpace.from_config(search("seeds")).size == 1_719_168
