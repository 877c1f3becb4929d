"""An app whose trials do nothing: what remains is what a sweeper costs."""

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path=None)
def main(config: DictConfig) -> float:
    return float(config.x)


if __name__ == "__main__":
    main()
