"""An app that puts something in place of its output which can only be written to."""

import sys

import hydra
from omegaconf import DictConfig


class Tee:
    def write(self, text: str) -> int:
        return len(text)


@hydra.main(version_base="1.3", config_path="conf", config_name="trials")
def main(config: DictConfig) -> float:
    sys.stdout = sys.stderr = Tee()
    print("hidden")
    return config.x


if __name__ == "__main__":
    main()
