"""An app that is configured by hydra-zen."""

import json

from hydra_zen import MISSING, make_config, store, zen
from zen_models import resnet, vit


def train(model: str, lr: float, record: str) -> float:
    with open(record, "a") as file:
        file.write(json.dumps({"config": {"model": model, "lr": lr}}) + "\n")
    return lr


store(vit, group="model")
store(resnet, group="model")
store(
    make_config(hydra_defaults=[{"model": MISSING}, "_self_"], model=MISSING, record=MISSING, lr=0.1),
    name="config",
)

if __name__ == "__main__":
    store.add_to_hydra_store()
    zen(train).hydra_main(config_name="config", config_path=None, version_base="1.3")
