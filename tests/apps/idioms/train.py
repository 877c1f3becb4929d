"""An app that is configured as people configure theirs: it writes down the config of each of its runs."""

import json
import os
import time
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    return record(cfg)


def record(cfg):
    seen = OmegaConf.to_container(cfg, resolve=True)
    with open(cfg.record, "a") as file:  # one small write to a file opened for appending: atomic
        file.write(json.dumps({"config": seen, "cwd": os.getcwd(), "worker": os.getppid()}) + "\n")
    while seen.get("wait_for") and not Path(seen["wait_for"]).exists():
        time.sleep(0.02)
    return cfg.lr


if __name__ == "__main__":
    main()
