"""An app that reports ten times unless it is told to stop."""

import hydra
from omegaconf import DictConfig

from dahps_core import current_trial


@hydra.main(version_base="1.3", config_path="conf", config_name="recorder")
def main(config: DictConfig) -> float:
    trial = current_trial()
    for step in range(10):
        trial.report(config.x, step)
        if trial.should_stop:
            break
    return config.x


if __name__ == "__main__":
    main()
