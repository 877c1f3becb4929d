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
