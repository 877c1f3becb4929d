from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import training
from dahps_core import current_trial
from data import Digits, digits
from models import VisionTransformer
from training import fit


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


def train_to(epochs: int, folder: Path, data: tuple[Digits, Digits], seed: int = 0) -> float:
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        return fit(*start(seed), *data, epochs=epochs, crop_size=8, batch_size=32, trial=current_trial())


def state(folder: Path) -> Any:
    return torch.load(folder / "checkpoints" / "checkpoint.pt", weights_only=True)


def assert_same(one: Any, other: Any) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_training_learns(tmp_path: Path, data: tuple[Digits, Digits]) -> None:
    assert train_to(6, tmp_path / "c", data) > train_to(1, tmp_path / "d", data) + 0.1


def test_a_seed_repeats_a_run_and_another_one_does_not(tmp_path: Path, data: tuple[Digits, Digits]) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train_to(1, tmp_path / name, data, seed)
    a, b, c = (state(tmp_path / name) for name in "abc")
    assert_same(a, b)
    assert not torch.equal(a["model"]["head.weight"], c["model"]["head.weight"])


def test_a_run_stopped_within_an_epoch_ends_with_the_numbers_of_an_uninterrupted_one(
    tmp_path: Path, data: tuple[Digits, Digits], monkeypatch: pytest.MonkeyPatch
) -> None:
    uninterrupted = train_to(4, tmp_path / "whole", data)

    def stop(*args: Any) -> float:
        if (tmp_path / "stopped" / "checkpoints").exists() and state(tmp_path / "stopped")["epoch"] == 2:
            raise KilledError  # the third epoch has trained already, but is not saved
        return evaluate(*args)

    evaluate = training.evaluate
    monkeypatch.setattr(training, "evaluate", stop)
    with pytest.raises(KilledError):
        train_to(4, tmp_path / "stopped", data)
    monkeypatch.undo()

    # The second attempt starts from other random numbers: all that counts must come from the checkpoint.
    assert train_to(4, tmp_path / "stopped", data, seed=99) == uninterrupted
    assert_same(state(tmp_path / "stopped"), state(tmp_path / "whole"))


def test_a_longer_run_goes_on_where_a_shorter_one_ended(tmp_path: Path, data: tuple[Digits, Digits]) -> None:
    train_to(1, tmp_path / "grown", data)
    assert train_to(3, tmp_path / "grown", data) == train_to(3, tmp_path / "whole", data)
    assert_same(state(tmp_path / "grown"), state(tmp_path / "whole"))


def test_a_finished_run_is_not_trained_again(
    tmp_path: Path, data: tuple[Digits, Digits], monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracy = train_to(1, tmp_path / "c", data)
    monkeypatch.delattr(training, "train_epoch")
    assert train_to(1, tmp_path / "c", data) == accuracy
