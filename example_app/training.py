"""Training that can be stopped at any moment and goes on after the last whole epoch.

Several processes train as one: with the same seed, each on its share of every batch.
"""

import logging
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dahps_core import Trial
from data import Digits, center_crop, random_crop
from ranks import averaging, from_first, rank, share, size

log = logging.getLogger(__name__)


def fit(
    model: nn.Module,
    optimizer: Optimizer,
    train: Digits,
    validation: Digits,
    *,
    epochs: int,
    crop_size: int,
    batch_size: int,
    trial: Trial,
) -> float:
    """Train until `epochs` epochs are done, those counted that the trial's checkpoint already holds.

    Returns:
        The share of the validation set that the model classifies right after the last epoch.
    """
    epoch, accuracy = load_checkpoint(trial, model, optimizer)
    averaged = averaging(model)
    while epoch < epochs:
        loss = train_epoch(averaged, optimizer, train, crop_size, batch_size)
        accuracy = evaluate(model, validation, crop_size)
        epoch += 1
        if rank() == 0:
            trial.report(accuracy, epoch)
            save_checkpoint(trial, model, optimizer, epoch, accuracy)
            log.info("epoch %d of %d: loss %.4f, validation accuracy %.4f", epoch, epochs, loss, accuracy)
        if epoch < epochs and from_first(lambda: trial.preempted):
            raise SystemExit  # the next attempt goes on from here
    return accuracy


def train_epoch(
    model: nn.Module, optimizer: Optimizer, train: Digits, crop_size: int, batch_size: int
) -> float:
    """One pass over the training set in random order; returns the mean loss of an image of this process."""
    model.train()
    total = 0.0
    order = share(torch.randperm(len(train.labels)))
    for batch in order.split(max(batch_size // size(), 1)):
        logits = model(random_crop(train.images[batch], crop_size))
        loss = nn.functional.cross_entropy(logits, train.labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    return total / len(order)


@torch.no_grad()
def evaluate(model: nn.Module, validation: Digits, crop_size: int) -> float:
    """The share of the images that the model classifies right."""
    model.eval()
    predicted = model(center_crop(validation.images, crop_size)).argmax(dim=1)
    return (predicted == validation.labels).double().mean().item()


def save_checkpoint(
    trial: Trial, model: nn.Module, optimizer: Optimizer, epoch: int, accuracy: float
) -> None:
    """Save all that the next epoch depends on."""
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "epoch": epoch,
        "accuracy": accuracy,
    }
    trial.save_checkpoint(state)


def load_checkpoint(trial: Trial, model: nn.Module, optimizer: Optimizer) -> tuple[int, float]:
    """Take up what an earlier attempt has saved; returns the epochs done and the accuracy after them."""
    # Read once for all: on shared storage one host may not see yet what another has saved.
    state: Any = from_first(trial.load_checkpoint)
    if state is None:
        return 0, 0.0
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    log.info("resumed after epoch %d", state["epoch"])
    return state["epoch"], state["accuracy"]
