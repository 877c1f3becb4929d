"""An app that uses what a trial offers, in a search and outside of one, and tells what it resolved."""

import json
import os

import hydra
from omegaconf import DictConfig, OmegaConf

from dahps_core import current_trial


@hydra.main(version_base="1.3", config_path="conf", config_name="trials")
def main(config: DictConfig) -> float:
    trial = current_trial()
    state = trial.load_checkpoint() or {"step": 0}
    step = state["step"] + 1
    trial.report(config.x + step, step)
    trial.save_checkpoint({"step": step, "rank": os.environ.get("RANK", "0")})
    with open("facts.json", "w") as file:
        json.dump(OmegaConf.to_container(config.facts, resolve=True), file)
    return config.x


if __name__ == "__main__":
    main()
