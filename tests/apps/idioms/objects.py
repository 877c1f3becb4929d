"""An app whose configs can hold objects."""

import threading

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf, open_dict

from train import record

LOCK = threading.Lock()

for name, made in {"closure": lambda: LOCK, "lock": LOCK}.items():
    node = OmegaConf.create({"made": made}, flags={"allow_objects": True})
    ConfigStore.instance().store(group="thing", name=name, node=node)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    with open_dict(cfg):
        cfg.pop("thing", None)  # which no JSON can hold
    return record(cfg)


if __name__ == "__main__":
    main()
