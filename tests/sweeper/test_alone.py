"""The command line that `dahps show` gives runs a trial alone, as it ran in the search."""

import subprocess
import sys

import pytest

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
