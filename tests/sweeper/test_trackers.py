"""The recipes for experiment trackers, run as they stand there, in a real search."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

PAGE = Path(__file__).parents[2] / "hydra_plugins/dahps_sweeper/README.md"
APP = """
import hydra
from hydra.core.hydra_config import HydraConfig

from dahps_core import current_trial


def training(cfg):
    for epoch in range(3):
        yield epoch, cfg.x + epoch / 10


@hydra.main(version_base="1.3", config_path=None)
def train(cfg):
{recipe}
    return accuracy


if __name__ == "__main__":
    train()
"""


def recipe(name):
    section = PAGE.read_text().partition("## Trackers\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(f"# {name}")]
    return textwrap.indent(found, "    ")


def search(folder, name, **environment):
    script = folder / "app.py"
    script.write_text(APP.format(recipe=recipe(name)))
    options = ["+x=1,2", "hydra/sweeper=dahps", "hydra/launcher=submitit_local", "hydra.sweeper.n_workers=1"]
    done = subprocess.run(
        [sys.executable, script, "-m", *options],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 finished" in done.stdout


def text_of(folder, pattern):
    return {path: path.read_bytes().decode(errors="replace") for path in folder.rglob(pattern)}


def test_tensorboard(tmp_path):
    search(tmp_path, "TensorBoard")
    curves = text_of(tmp_path, "[01]/events.out.tfevents.*")
    assert len(curves) == 2
    assert all("accuracy" in events for events in curves.values())
    parameters = text_of(tmp_path, "trial [01]/events.out.tfevents.*")
    assert len(parameters) == 2
    assert all("+x" in events and "repetition" in events for events in parameters.values())


def test_mlflow(tmp_path):
    search(tmp_path, "MLflow", MLFLOW_TRACKING_URI=f"file:{tmp_path}/runs", MLFLOW_ALLOW_FILE_STORE="true")
    assert sorted(text_of(tmp_path / "runs", "mlflow.runName").values()) == ["trial 0", "trial 1"]
    assert sorted(text_of(tmp_path / "runs", "params/x").values()) == ["1", "2"]
    assert set(text_of(tmp_path / "runs", "params/repetition").values()) == {"0"}
    assert all(
        len(text.splitlines()) == 3 for text in text_of(tmp_path / "runs", "metrics/accuracy").values()
    )


def test_wandb_without_a_network(tmp_path):
    search(tmp_path, "W&B")
    runs = "".join(text_of(tmp_path / "wandb", "run-*.wandb").values())
    for words in ("trial 0", "trial 1", "repetition", "accuracy", "digits"):
        assert words in runs
