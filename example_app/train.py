"""Train a network on handwritten digits.

One run:     python train.py
By two:      torchrun --nproc-per-node=2 train.py
The search:  python train.py -m hydra/launcher=submitit_local
"""

import hydra
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn

from dahps_core import current_trial
from data import digits
from ranks import together
from training import fit


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def train(cfg: DictConfig) -> float:
    """Train as `cfg` says; returns the validation accuracy, which the search maximizes."""
    torch.set_num_threads(cfg.num_threads)
    torch.manual_seed(cfg.seed)
    training_set, validation_set = digits(cfg.data.image_size)
    model = build_model(cfg)
    with together():
        return fit(
            model,
            instantiate(cfg.optimizer, model.parameters()),
            training_set,
            validation_set,
            epochs=cfg.epochs,
            crop_size=cfg.data.crop_size,
            batch_size=cfg.data.batch_size,
            trial=current_trial(),
        )


def build_model(cfg: DictConfig) -> nn.Module:
    """The features, and the network that takes as many channels as they have."""
    features = instantiate(cfg.features)
    return nn.Sequential(features, instantiate(cfg.model, in_channels=features.channels))


if __name__ == "__main__":
    train()
