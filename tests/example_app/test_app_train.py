import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch


def start_training(app: Path, folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "train.py", f"hydra.run.dir='{folder}'", "epochs=6"], cwd=app)


def checkpoint(folder: Path) -> Any:
    return torch.load(folder / "checkpoints" / "checkpoint.pt", weights_only=True)


def test_a_killed_run_that_is_run_again_ends_with_the_numbers_of_an_uninterrupted_one(
    app: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole run", tmp_path / "killed run"

    victim = start_training(app, killed)
    deadline = time.monotonic() + 60
    while not (killed / "checkpoints" / "checkpoint.pt").exists():
        assert victim.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    victim.kill()
    victim.wait()
    assert 1 <= checkpoint(killed)["epoch"] < 6

    runs = [start_training(app, folder) for folder in (killed, whole)]
    assert [run.wait(timeout=90) for run in runs] == [0, 0]

    assert "resumed after epoch" in (killed / "train.log").read_text()
    assert "epoch 6 of 6" in (whole / "train.log").read_text()
    assert checkpoint(whole)["accuracy"] > 0.9
    torch.testing.assert_close(checkpoint(killed), checkpoint(whole), rtol=0, atol=0)


@pytest.mark.parametrize("seed", [0, 1])
def test_train_returns_the_validation_accuracy(
    seed: int, tmp_path: Path, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hydra import compose, initialize_config_dir

    from train import train

    monkeypatch.chdir(tmp_path)
    overrides = [f"seed={seed}", "epochs=1"]
    with initialize_config_dir(config_dir=str(app / "conf"), version_base="1.3"):
        accuracy = train(compose("config", overrides))
    assert type(accuracy) is float
    assert accuracy == checkpoint(tmp_path)["accuracy"]
