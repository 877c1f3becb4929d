"""Scikit-learn's handwritten digits, enlarged, split and cut."""

from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn


class Digits(NamedTuple):
    """Images (n, 1, size, size) with pixels in [0, 1], and their labels (n,)."""

    images: Tensor
    labels: Tensor


def digits(image_size: int) -> tuple[Digits, Digits]:
    """The training set (80 %) and the validation set, with images of `image_size` pixels a side.

    The split is the same for every seed, so that all trials are judged by images that none has trained on.
    """
    pixels, labels = load_digits(return_X_y=True)
    train, validation = train_test_split(range(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    images = torch.from_numpy(pixels).float().view(-1, 1, 8, 8) / 16
    images = nn.functional.interpolate(images, size=image_size, mode="bilinear")
    targets = torch.from_numpy(labels)
    return Digits(images[train], targets[train]), Digits(images[validation], targets[validation])


def random_crop(images: Tensor, size: int) -> Tensor:
    """A window of `size` pixels a side, at one random place for the whole batch."""
    places = images.shape[-1] - size + 1
    top, left = torch.randint(places, (2,)).tolist()
    return images[..., top : top + size, left : left + size]


def center_crop(images: Tensor, size: int) -> Tensor:
    """The window of `size` pixels a side in the middle."""
    start = (images.shape[-1] - size) // 2
    return images[..., start : start + size, start : start + size]
