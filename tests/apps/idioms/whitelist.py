"""An app that says what its configs may name, as Hydra 1.4 asks for."""

import hydra
from hydra.utils import instantiate


@hydra.main(config_path="conf", config_name="config", execution_whitelist=["fractions.Fraction"])
def train(cfg):
    return float(instantiate(cfg.thing))


if __name__ == "__main__":
    train()
