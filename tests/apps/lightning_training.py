"""Trains by Lightning on two processes, whose gradients differ; what each has is noted."""

import json
from pathlib import Path

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from dahps_core import current_trial


class Model(lightning.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.layer = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(self.layer.weight)

    def training_step(self, batch, _):
        return (self.layer(batch[0]) * (1 + 2 * self.trainer.global_rank)).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def fit(lr, notes):
    """One step of gradient descent; note the rank's facts, and return the weight."""
    model = Model(lr)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(TensorDataset(torch.ones(4, 1)), batch_size=2))
    trial, weight = current_trial(), model.layer.weight.item()
    trial.report(weight, trainer.global_rank)
    facts = {"lr": lr, "weight": weight, "combination": dict(trial.combination), "size": trainer.world_size}
    Path(notes, f"{trial.number}.{trainer.global_rank}.json").write_text(json.dumps(facts))
    return weight


if __name__ == "__main__":
    import hydra

    @hydra.main(version_base="1.3", config_path="conf", config_name="lightning_training")
    def main(config):
        return fit(config.lr, Path(config.record).parent)

    main()
