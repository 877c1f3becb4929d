import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import training
from data import Digits, digits
from models import VisionTransformer
from training import fit, load_checkpoint, save_checkpoint


class KilledError(Exception):
    """Stands for a kill: nothing after it runs."""


@pytest.fixture(scope="module")
def data() -> tuple[Digits, Digits]:
    train, validation = digits(10)
    return Digits(train.images[:200], train.labels[:200]), validation


def start(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = VisionTransformer(1, 8, 4, embed_dim=16, num_heads=2, activation="relu", depth=1)
    return model, torch.optim.AdamW(model.parameters(), lr=1e-2)


def train_to(epochs: int, checkpoint: Path, data: tuple[Digits, Digits], seed: int = 0) -> float:
    return fit(*start(seed), *data, epochs=epochs, crop_size=8, batch_size=32, checkpoint=checkpoint)


def state(checkpoint: Path) -> Any:
    return torch.load(checkpoint, weights_only=True)


def assert_same(one: Any, other: Any) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_training_learns(tmp_path: Path, data: tuple[Digits, Digits]) -> None:
    assert train_to(6, tmp_path / "c.pt", data) > train_to(1, tmp_path / "d.pt", data) + 0.1


def test_a_seed_repeats_a_run_and_another_one_does_not(tmp_path: Path, data: tuple[Digits, Digits]) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train_to(1, tmp_path / name, data, seed)
    a, b, c = (state(tmp_path / name) for name in "abc")
    assert_same(a, b)
    assert not torch.equal(a["model"]["head.weight"], c["model"]["head.weight"])


def test_a_run_stopped_within_an_epoch_ends_with_the_numbers_of_an_uninterrupted_one(
    tmp_path: Path, data: tuple[Digits, Digits], monkeypatch: pytest.MonkeyPatch
) -> None:
    uninterrupted = train_to(4, tmp_path / "whole.pt", data)

    def stop(*args: Any) -> float:
        if (tmp_path / "stopped.pt").exists() and state(tmp_path / "stopped.pt")["epoch"] == 2:
            raise KilledError  # the third epoch has trained already, but is not saved
        return evaluate(*args)

    evaluate = training.evaluate
    monkeypatch.setattr(training, "evaluate", stop)
    with pytest.raises(KilledError):
        train_to(4, tmp_path / "stopped.pt", data)
    monkeypatch.undo()

    # The second attempt starts from other random numbers: all that counts must come from the checkpoint.
    assert train_to(4, tmp_path / "stopped.pt", data, seed=99) == uninterrupted
    assert_same(state(tmp_path / "stopped.pt"), state(tmp_path / "whole.pt"))


def test_a_longer_run_goes_on_where_a_shorter_one_ended(tmp_path: Path, data: tuple[Digits, Digits]) -> None:
    train_to(1, tmp_path / "grown.pt", data)
    assert train_to(3, tmp_path / "grown.pt", data) == train_to(3, tmp_path / "whole.pt", data)
    assert_same(state(tmp_path / "grown.pt"), state(tmp_path / "whole.pt"))


def test_a_finished_run_is_not_trained_again(
    tmp_path: Path, data: tuple[Digits, Digits], monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracy = train_to(1, tmp_path / "c.pt", data)
    monkeypatch.delattr(training, "train_epoch")
    assert train_to(1, tmp_path / "c.pt", data) == accuracy


def test_a_save_that_is_cut_off_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*args: Any) -> None:
        raise KilledError

    save_checkpoint(tmp_path / "c.pt", *start(0), epoch=1, accuracy=0.5)
    monkeypatch.setattr(os, "replace", cut_off)
    with pytest.raises(KilledError):
        save_checkpoint(tmp_path / "c.pt", *start(1), epoch=2, accuracy=0.6)
    assert load_checkpoint(tmp_path / "c.pt", *start(2)) == (1, 0.5)


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    for is_zip in (True, False):
        path = tmp_path / f"{is_zip}.pt"
        torch.save({"model": Bomb(mark)}, path, _use_new_zipfile_serialization=is_zip)
        with pytest.raises(pickle.UnpicklingError, match=r"(?i)weights"):
            load_checkpoint(path, *start(0))
        assert not mark.exists()
        torch.load(path, weights_only=False)
        assert mark.exists(), "the bomb is one"
        mark.unlink()
