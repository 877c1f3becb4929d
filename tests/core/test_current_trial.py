"""What stands in for a trial outside of a search, so that one script serves for both."""

import json
import os
import subprocess
import sys

import pytest

from dahps_core import current_trial

SCRIPT = """
from dahps_core import current_trial
trial = current_trial()
state = trial.load_checkpoint() or {"step": 0}
step = state["step"] + 1
trial.report(float("nan") if step == 2 else step / 8, step)
trial.save_checkpoint({"step": step})
assert current_trial() is trial and not trial.preempted
facts = trial.number, trial.attempt, trial.repetition, dict(trial.combination), trial.level, trial.resource
print(*facts, step)
"""

APP = """
import hydra
@hydra.main(version_base="1.3", config_path=None)
def main(config):
{body}
main()
"""


def run(folder, script, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout.strip()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_script_that_is_run_again_goes_on_in_its_folder(tmp_path):
    assert run(tmp_path, SCRIPT) == "None 1 0 {} 0 None 1"
    assert run(tmp_path, SCRIPT) == "None 1 0 {} 0 None 2"
    assert sorted(os.listdir(tmp_path)) == ["checkpoints", "history.jsonl"]
    assert str(lines(tmp_path / "history.jsonl")) == (
        "[{'step': 1, 'metric': 0.125}, {'step': 2, 'metric': nan}]"
    )


def test_an_app_of_hydra_does_so_in_its_output_folder(tmp_path):
    app = APP.format(body="\n".join(f"    {line}" for line in SCRIPT.splitlines()))
    (tmp_path / "app.py").write_text(app)
    command = [sys.executable, "app.py", "hydra.run.dir=a run"]
    for step in (1, 2):
        out = subprocess.check_output(command, cwd=tmp_path, text=True, timeout=120)
        assert out.split()[-1] == str(step)
    assert (tmp_path / "a run" / "checkpoints" / "checkpoint.pt").exists()
    assert len(lines(tmp_path / "a run" / "history.jsonl")) == 2
    assert not (tmp_path / "checkpoints").exists()


def test_of_the_processes_of_torchrun_the_first_one_records(tmp_path):
    ranks = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}
    assert run(tmp_path, SCRIPT, RANK="1", LOCAL_RANK="1", **ranks).endswith(" 1")
    assert os.listdir(tmp_path) == []
    run(tmp_path, SCRIPT, RANK="0", LOCAL_RANK="0", **ranks)
    assert run(tmp_path, SCRIPT, RANK="1", LOCAL_RANK="1", **ranks).endswith(" 2"), "all of them load"
    assert len(lines(tmp_path / "history.jsonl")) == 1


def test_whoever_loads_nothing_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert current_trial().load_checkpoint() is None
    assert os.listdir(tmp_path) == []
    assert current_trial().checkpoint_dir == tmp_path / "checkpoints"
    assert (tmp_path / "checkpoints").is_dir()


@pytest.mark.parametrize("name", ["a", "b"])
def test_each_folder_has_its_own(tmp_path, monkeypatch, name):
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    current_trial().preempt()
    assert current_trial().preempted
    monkeypatch.chdir(tmp_path)
    assert not current_trial().preempted
