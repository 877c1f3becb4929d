"""What the options of the sweeper do to a search."""

import pytest

from dahps_core.ledger import Ledger
from tests.support import wait_until
from tests.sweeper.conftest import override

LOCALLY = ["hydra/launcher=submitit_local", "hydra.sweeper.n_workers=2"]
TREE = {
    "root": {
        "key": "y",
        "values": ["left", "right"],
        "left": {"key": "x", "values": [3, 1, 2], "default": None},
        "right": {"key": "x", "values": [5, 7], "default": None},
    }
}


def test_a_multirun_may_draw_from_one_branch(app):
    left = app.sweep(app.tree(TREE), "hydra.sweeper.only={y: left}", *LOCALLY)
    assert left.code == 0, left.output
    assert "Search of 3 trials" in left.output
    assert "3/3 trials: 3 finished" in left.output
    assert app.status()["left"] == 0
    assert {trial["combination"]["y"] for trial in app.trials()} == {"left"}
    assert len(app.trials()) == 3
    again = app.sweep(app.tree(TREE), "hydra.sweeper.only={y: [left]}")
    assert "Nothing is left to run" in again.output
    rest = app.sweep(app.tree(TREE))
    assert rest.code == 0, rest.output
    assert len(app.trials()) == 5
    assert app.runs() == {(number, 1): 1 for number in range(5)}


@pytest.mark.parametrize(
    ("isolation", "launcher", "n_processes"),
    [
        ("auto", ["hydra/launcher=basic"], 1),
        ("process", ["hydra/launcher=basic"], 3),
        ("auto", ["hydra/launcher=submitit_local"], 3),
        ("none", ["hydra/launcher=submitit_local"], 1),
    ],
)
def test_where_trials_run(app, isolation, launcher, n_processes):
    outcome = app.sweep(
        "x=range(3)", *launcher, f"hydra.sweeper.isolation={isolation}", "hydra.sweeper.n_workers=1"
    )
    assert outcome.code == 0, outcome.output
    processes = {line.split()[2] for line in app.record.read_text().splitlines()}
    assert len(processes) == n_processes


def test_a_multirun_that_a_person_stops_says_what_is_left(app):
    gate = app.folder / "gate"
    sweep = app.start("x=range(6)", override("wait_for", gate), *LOCALLY)
    wait_until(lambda: len(app.runs()) == 2, 60, "two running trials")
    with Ledger.open(app.ledger) as ledger:
        ledger.stop()
    gate.touch()
    outcome = app.wait(sweep)
    assert outcome.code == 0, outcome.output
    assert "2 workers ended: 2 stopped" in outcome.output
    assert "4 trials are left" in outcome.output
    assert outcome.results["best_value"] is not None
