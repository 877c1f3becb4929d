import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch


def torchrun(app: Path, folder: Path, n_processes: int, *overrides: str) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    run = subprocess.run(
        [*launcher, str(n_processes), "train.py", f"hydra.run.dir='{folder}'", *overrides],
        cwd=app,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def alone(app: Path, folder: Path, *overrides: str) -> None:
    subprocess.run(
        [sys.executable, "train.py", f"hydra.run.dir='{folder}'", *overrides],
        cwd=app,
        check=True,
        timeout=120,
    )


def checkpoint(folder: Path) -> Any:
    return torch.load(folder / "checkpoints" / "checkpoint.pt", weights_only=True)


def test_two_processes_train_one_model_as_well_as_one_does(app: Path, tmp_path: Path) -> None:
    torchrun(app, tmp_path / "by two", 2, "epochs=1")
    torchrun(app, tmp_path / "by two", 2, "epochs=6")
    state = checkpoint(tmp_path / "by two")
    log = (tmp_path / "by two" / "train.log").read_text()
    assert log.count("epoch 6 of 6") == 1, "one of them tells"
    assert log.count("resumed after epoch 1") == 2, "both go on where they were"
    assert state["epoch"] == 6
    assert state["accuracy"] > 0.9


def test_two_processes_take_the_steps_of_one(app: Path, tmp_path: Path) -> None:
    # One step on the whole training set: with the mean of both gradients it is the same for one and for two.
    one_step = ["epochs=1", "data.batch_size=10000", "optimizer._target_=torch.optim.SGD"]
    alone(app, tmp_path / "alone", *one_step)
    torchrun(app, tmp_path / "by two", 2, *one_step)
    one, two = (checkpoint(tmp_path / name)["model"] for name in ("alone", "by two"))
    assert list(one) == list(two)
    # The set has an odd number of images, of which one counts twice.
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)


def test_a_process_that_is_told_to_be_one_of_one_is_alone(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    alone(app, tmp_path, "epochs=1")
    assert checkpoint(tmp_path)["epoch"] == 1


def test_the_tasks_of_a_job_train_a_trial_together(app: Path, tmp_path: Path) -> None:
    folders = [f"hydra.sweep.dir='{tmp_path}/sweep'", f"hydra.sweeper.ledger='{tmp_path}/ledger'"]
    few = ["epochs=1", "hydra.sweeper.max_trials=1", "hydra.sweeper.n_workers=1"]
    launcher = ["hydra/launcher=submitit_local", "hydra.launcher.tasks_per_node=2"]
    command = [sys.executable, "train.py", "-m", *launcher, *few, *folders]
    subprocess.run(command, cwd=app, check=True, timeout=120)
    (trained,) = (tmp_path / "ledger").glob("checkpoints/*/checkpoint.pt")
    assert torch.load(trained, weights_only=True)["epoch"] == 1
    assert (tmp_path / "sweep" / "0" / "train.log").read_text().count("epoch 1 of 1") == 1
    assert (tmp_path / "sweep" / "0" / "train.rank1.log").exists()
