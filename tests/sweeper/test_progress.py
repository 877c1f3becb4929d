"""What a person sees while a search runs: each trial's end and, on a terminal, a bar that stays whole."""

import os
import re

import pytest

from tests.commands import Terminal

LOCAL = ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10", "hydra.sweeper.n_workers=2"]


def ends(output):
    return [line for line in output.splitlines() if re.search(r"#\d+ (finished|failed)", line)]


def test_each_trial_that_ends_has_a_line_with_what_sets_it_apart(app):
    outcome = app.sweep(
        *LOCAL,
        app.tree({"common": {"y": "same"}, "root": {"key": "x", "values": [3, 1, 2], "default": None}}),
        "hydra.sweeper.strategy.name=grid",
    )
    assert outcome.code == 0, outcome.output
    lines = "\n".join(ends(outcome.output))
    assert re.search(r"#0 finished: 3 after \d+ s(, best so far)? \(x=3\)$", lines, re.MULTILINE)
    assert re.search(r"#1 finished: 1 after \d+ s, best so far \(x=1\)$", lines, re.MULTILINE)
    assert re.search(r"#2 finished: 2 after \d+ s(, best so far)? \(x=2\)$", lines, re.MULTILINE)
    assert lines.count("finished") == 3


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_workers_that_log_to_the_same_terminal_log_the_ends_themselves(app, launcher):
    outcome = app.sweep(f"hydra/launcher={launcher}", "hydra.sweeper.n_workers=2", "x=1,2")
    assert outcome.code == 0, outcome.output
    lines = ends(outcome.output)
    assert len(lines) == 2
    assert all(re.search(r"#\d finished: [12].0 after \d+ s$", line) for line in lines)


@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local"])
@pytest.mark.parametrize("logging", ["default", "none", "disabled"])
def test_no_worker_is_announced_as_if_it_were_a_trial(app, launcher, logging):
    outcome = app.sweep(f"hydra/launcher={launcher}", "x=1", f"hydra/hydra_logging={logging}")
    assert outcome.code == 0, outcome.output
    assert "worker=" not in outcome.output


def test_a_trial_that_fails_has_a_line_with_its_error(app):
    outcome = app.sweep(*LOCAL, "x=1", "behaviour=raise", "hydra.sweeper.max_attempts=1")
    [line] = ends(outcome.output)
    assert re.search(r"#0 failed after \d+ s: ValueError: x is 1", line)


def test_nothing_is_logged_through_the_bar_of_a_terminal(app):
    command, _ = app.command(*LOCAL, "x=1,2,3")
    environment = {**os.environ, "PYTHONPATH": str(app.folder)}
    with Terminal(command, environment, columns=120) as terminal:
        shown = terminal.read_until()
    # What a line of the log leaves of a bar that it was written through stands before it on its line.
    assert "sweep output dir" in shown
    for line in re.split(r"[\r\n]+", shown):
        logged = re.search(r"\[\d{4}-\d\d-\d\d [\d:,]+\]", line)
        assert logged is None or not re.search(r"dahps .*[━╸╺]", line[: logged.start()]), line


def figures(output):
    """What the lines of a multirun say is done, of which budget."""
    return [tuple(map(int, pair)) for pair in re.findall(r"(\d+)/(\d+) (?:trials|resource): ", output)]


def budget_of_status(app):
    known = app.status()
    return known["done"], known["left"], known["budget"]


def test_with_rungs_the_bar_counts_resource_within_its_limit(app):
    levels = ["hydra/sweeper/strategy=hyperband", "hydra.sweeper.strategy.levels=[1,3,9]"]
    levels += ["hydra.sweeper.strategy.resource_key=+epochs", "hydra.sweeper.max_resource_total=40"]
    outcome = app.sweep(*LOCAL, *levels, f"x={','.join(map(str, range(40)))}")
    assert outcome.code == 0, outcome.output
    shown = figures(outcome.output)
    assert [done for done, _ in shown] == sorted(done for done, _ in shown)
    done, budget = shown[-1]
    assert {budget for _, budget in shown} == {40, done}  # what is left of it is too little for a trial
    assert done == budget <= 40
    assert budget_of_status(app) == (done, 0, done)
    known = outcome.results
    assert (known["done"], known["left"], known["budget"], known["unit"]) == (done, 0, done, "resource")


def test_of_a_branch_the_bar_counts_its_trials_alone(app):
    tree = {
        "root": {
            "key": "x",
            "values": [1, 2],
            "default": {"key": "y", "values": list("abc"), "default": None},
        }
    }
    grid = "hydra.sweeper.strategy.name=grid"
    assert app.sweep(app.tree(tree), grid, "hydra.sweeper.max_trials=4", *LOCAL).code == 0
    outcome = app.sweep(app.tree(tree), grid, "hydra.sweeper.only={x: 2}", *LOCAL)
    assert outcome.code == 0, outcome.output
    assert {budget for _, budget in figures(outcome.output)} == {3}
    assert figures(outcome.output)[-1] == (3, 3)
    assert "3/3 trials: 3 finished" in outcome.output
    assert (outcome.results["done"], outcome.results["budget"]) == (3, 3)
    assert budget_of_status(app) == (3, 0, 3)


def test_after_an_extension_the_bar_goes_on_from_what_is_done(app):
    assert app.sweep("x=1,2,3", *LOCAL).code == 0
    outcome = app.sweep("x=1,2,3,4,5", "hydra.sweeper.on_change=extend", *LOCAL)
    assert outcome.code == 0, outcome.output
    assert "Search of 5 trials" in outcome.output
    assert {budget for _, budget in figures(outcome.output)} == {5}
    assert min(done for done, _ in figures(outcome.output)) >= 3
    assert budget_of_status(app) == (5, 0, 5)
