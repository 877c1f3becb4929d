"""The command line that `dahps show` gives runs a trial alone, as it ran in the search."""

import subprocess
import sys

import pytest

from dahps_core.ledger import Ledger
from tests.commands import dahps

#: As in well-known templates: a config of its own chooses the sweeper, its options and the mode.
TEMPLATE = {
    "configs/train.yaml": """
defaults: [_self_, model: mlp, hparams_search: null]
seed: ${dahps:repetition}
lr: 0.1
""",
    "configs/model/mlp.yaml": "width: 8\n",
    "configs/hparams_search/mnist.yaml": """
# @package _global_
defaults:
  - override /hydra/sweeper: dahps
hydra:
  mode: MULTIRUN
  sweeper:
    direction: minimize
    search:
      repetitions: 2
      root: {key: model.width, values: [1, 2], default: {key: lr, values: [0.5], default: null}}
    strategy: {name: grid}
""",
    "train.py": """
import hydra, json
@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(cfg):
    metric = cfg.model.width * 1000 + cfg.seed * 100 + cfg.lr
    open("{folder}/metrics", "a").write(json.dumps(metric) + "\\n")
    return metric
main()
""",
}
GROUPS = ["hydra.sweeper.search={root: {key: model, values: [vit, resnet], default: null}}"]
GROUPS += ["hydra.sweeper.strategy.name=grid"]
TREE = {"root": {"key": "y", "values": ['it\'s, a "b"', "right"], "default": None}}


def alone(app, number):
    shown = subprocess.check_output(
        [sys.executable, "-m", "dahps_core", "show", str(app.ledger), str(number)], text=True
    )
    [line] = [line for line in shown.splitlines() if line.startswith("run alone")]
    return line.removeprefix("run alone").strip()


@pytest.mark.parametrize("number", [0, 1])
def test_a_trial_is_run_alone_by_the_command_that_show_gives(app, number):
    outcome = app.sweep(app.tree(TREE), "x=1,2", "hydra.sweeper.strategy.name=grid")
    assert outcome.code == 0, outcome.output
    before = app.record.read_text().splitlines()
    subprocess.run(["bash", "-c", alone(app, number)], check=True, capture_output=True)
    *same, last = app.record.read_text().splitlines()
    assert same == before
    assert last.split(maxsplit=3)[3] == before[number].split(maxsplit=3)[3]
    assert app.status()["drawn"] == 4


@pytest.mark.parametrize("is_the_apps", [True, False])
def test_a_trial_alone_needs_no_sweeper_for_its_search(project, is_the_apps):
    search = "+search@hydra.sweeper.search=anchored"
    if is_the_apps:
        project.sweeper = []
        defaults = "  - search@hydra.sweeper.search: ???\n  - _self_\n  - override hydra/sweeper: dahps\n"
        project.edit("conf/config.yaml", "  - _self_\n", defaults)
        search = search.removeprefix("+")
    outcome = project.sweep(search, "hydra.sweeper.max_trials=1")
    assert outcome.code == 0, outcome.output
    subprocess.run(["bash", "-c", alone(project, 0)], check=True, capture_output=True)
    first, second = project.configs()
    assert first == second


def run_alone(app, number):
    subprocess.run(["bash", "-c", alone(app, number)], check=True, capture_output=True)


def test_it_has_its_repetition_and_its_configs_though_they_were_edited_since(project):
    tree = "{root: {key: model, values: [vit, resnet], default: null}, repetitions: 3}"
    outcome = project.sweep(f"hydra.sweeper.search={tree}", "hydra.sweeper.strategy.name=grid")
    assert outcome.code == 0, outcome.output
    before = project.configs()
    project.edit("conf/config.yaml", "lr: 0.1", "lr: 0.7")
    project.edit("conf/config.yaml", "seed: ${dahps:repetition}", "seed: 9")
    project.edit("conf/model/resnet.yaml", "depth: 18", "depth: 50")
    for number in (1, 5):
        run_alone(project, number)
        assert project.configs()[-1] == before[number]
    assert before[5]["seed"] == 2
    assert len(project.trials()) == 6
    with Ledger.open(project.ledger) as ledger:
        assert all(len(ledger.attempts(number)) == 1 for number in range(6))


@pytest.mark.parametrize("carried", ["resource_key", "resolver"])
def test_it_has_the_resource_of_its_level(project, carried):
    if carried == "resolver":
        project.edit("conf/config.yaml", "lr: 0.1", "lr: 0.1\nepochs: ${dahps:resource}")
        levels = []
    else:
        project.edit("conf/config.yaml", "lr: 0.1", "lr: 0.1\nepochs: 100")
        levels = ["hydra.sweeper.strategy.resource_key=epochs"]
    levels += ["hydra/sweeper/strategy=hyperband", "hydra.sweeper.strategy.levels=[1,3]"]
    levels += ["hydra.sweeper.strategy.brackets=1"]
    outcome = project.sweep(*levels, "model=resnet", "optimizer=sgd", "lr=0.1,0.2,0.3,0.4")
    assert outcome.code == 0, outcome.output
    before = {(config["lr"], config["epochs"]) for config in project.configs()}
    top = next(trial for trial in project.trials() if trial["level"] == 1)
    run_alone(project, top["number"])
    last = project.configs()[-1]
    assert last["epochs"] == 3
    assert (last["lr"], 3) in before


def test_a_template_that_chooses_the_sweeper_in_a_config_is_run_once(tmp_path):
    for name, text in TEMPLATE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{folder}", str(tmp_path)).lstrip("\n"))
    command = [sys.executable, "train.py", "hparams_search=mnist"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    metrics = (tmp_path / "metrics").read_text().split()
    assert metrics == ["1000.5", "1100.5", "2000.5", "2100.5"]
    ledger = tmp_path / "dahps" / "train"
    told = dahps("show", ledger, 3)
    (line,) = [line for line in told.splitlines() if line.startswith("run alone")]
    (tmp_path / "configs/hparams_search/mnist.yaml").unlink()
    refused = subprocess.run(["bash", "-c", line.removeprefix("run alone")], capture_output=True, text=True)
    assert refused.returncode == 1  # Hydra itself needs the config that chooses the sweeper
    (tmp_path / "configs/hparams_search/mnist.yaml").write_text(
        TEMPLATE["configs/hparams_search/mnist.yaml"].replace("[1, 2]", "[7]").lstrip("\n")
    )
    subprocess.run(["bash", "-c", line.removeprefix("run alone")], check=True, capture_output=True)
    assert (tmp_path / "metrics").read_text().split() == [*metrics, "2100.5"]
    with Ledger.open(ledger) as opened:
        assert opened.n_drawn == 4
    assert not (tmp_path / "outputs" / "dahps").exists()


def test_a_trial_that_is_not_there_is_told_in_one_line(project):
    assert project.sweep(*GROUPS, "hydra.sweeper.max_trials=1").code == 0
    outcome = project.sweep(*GROUPS, "hydra.sweeper.run_alone=7")
    assert outcome.code == 1
    assert "trial 7 was never drawn" in outcome.output
    assert "Traceback" not in outcome.output


def test_which_trials_were_made_of_which_configs_is_shown(project):
    assert project.sweep(*GROUPS, "hydra.sweeper.max_trials=1").code == 0
    assert "configs" not in dahps("trials", project.ledger)
    assert "different configs" not in dahps("status", project.ledger)
    project.edit("conf/config.yaml", "lr: 0.1", "lr: 0.2")
    more = ["hydra.sweeper.on_change=extend", "hydra.sweeper.max_trials=3"]
    assert project.sweep(*GROUPS, *more).code == 0
    rows = {trial["number"]: trial["configs"] for trial in project.trials()}
    assert rows == {0: 0, 1: 1}
    assert "configs" in dahps("trials", project.ledger).splitlines()[0]
    assert "used different configs (1 with configs 0, 1 with configs 1)" in dahps("status", project.ledger)
    shown = dahps("show", project.ledger, 0), dahps("show", project.ledger, 1)
    kept = [str(project.ledger / "configs" / f"{number}" / "configs.json") for number in (0, 1)]
    assert [kept[0] in shown[0], kept[1] in shown[0]] == [True, False]
    assert [kept[0] in shown[1], kept[1] in shown[1]] == [False, True]
    with Ledger.open(project.ledger) as ledger:
        assert list(ledger.to_frame()["configs"]) == [0, 1]
    dahps("report", project.ledger, "-o", project.folder / "page.html")
    page = (project.folder / "page.html").read_text()
    assert "1 trial with configs 0, 1 trial with configs 1" in page
    run_alone(project, 0)
    run_alone(project, 1)
    assert [config["lr"] for config in project.configs()[-2:]] == [0.1, 0.2]
