"""An app whose configs are dataclasses in the ConfigStore."""

import os
from dataclasses import dataclass, field
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from train import record


@dataclass
class Model:
    name: str = MISSING


@dataclass
class Vit(Model):
    name: str = "vit"
    heads: int = 2


@dataclass
class ResNet(Model):
    name: str = "resnet"
    depth: int = int(os.environ.get("DEPTH", "18"))  # stands for an edit of this file


@dataclass
class Config:
    defaults: list[Any] = field(default_factory=lambda: [{"model": MISSING}, "_self_"])
    model: Model = MISSING
    record: str = MISSING
    lr: float = 0.1


store = ConfigStore.instance().store
store(name="config", node=Config)
store(group="model", name="vit", node=Vit)
store(group="model", name="resnet", node=ResNet)


@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(cfg: Config) -> float:
    return record(cfg)


if __name__ == "__main__":
    main()
