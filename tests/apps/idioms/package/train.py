"""An app in a package: python -m package.train."""

import hydra

from train import record


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def main(cfg):
    return record(cfg)


if __name__ == "__main__":
    main()
