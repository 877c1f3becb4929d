"""Intervals, `then` and exclusions with the real sweeper; Hydra's own words for intervals."""

import json
import subprocess
import sys

import pytest

from dahps_core.ledger import Ledger

RANDOM = "hydra.sweeper.strategy.name=random"
THEN = {"key": "y", "interval": [0.1, 10], "log": True, "default": None}
TREE = {
    "root": {"key": "x", "values": [1, 2], "weights": [1, 3], "default": None, "then": THEN},
    "exclude": [{"x": 2, "y": {"interval": [1, 10]}}],
}


def dahps(app, command, *arguments):
    line = [sys.executable, "-m", "dahps_core", command, str(app.ledger), *arguments]
    return subprocess.run(line, cwd=app.folder, check=True, capture_output=True, text=True).stdout


def combinations(app):
    with Ledger.open(app.ledger) as ledger:
        return [dict(trial.combination) for trial in ledger.trials()]


def test_hydra_s_words_make_intervals_of_a_search(app):
    words = ["x=int(interval(1,9))", "y=tag(log,interval(0.001,1.0))"]
    outcome = app.sweep(*words, RANDOM, "hydra.sweeper.max_trials=6")
    assert outcome.code == 0, outcome.output
    found = combinations(app)
    assert len(found) == 6
    for one in found:
        assert type(one["x"]) is int
        assert 1 <= one["x"] <= 9
        assert 0.001 <= one["y"] <= 1
        assert len(f"{one['y']:g}".replace("0.", "").lstrip("0")) <= 3
    assert len({one["y"] for one in found}) > 3


def test_a_tree_with_all_words(app):
    outcome = app.sweep(app.tree(TREE), "hydra.sweeper.max_trials=8")
    assert outcome.code == 0, outcome.output
    found = combinations(app)
    assert len(found) == 8
    assert not [one for one in found if one["x"] == 2 and one["y"] >= 1]
    for command in ("status", "best", "trials", "check", "space"):
        dahps(app, command)
    chosen = f"y={found[0]['y']!r}"
    assert found[0]["y"] == json.loads(dahps(app, "trials", "--format=json", chosen))[0]["combination"]["y"]


def test_an_enqueued_value_between_the_listed_ones_runs_first(app):
    search = app.tree(TREE)
    assert app.sweep(search, "hydra.sweeper.max_trials=1").code == 0
    dahps(app, "enqueue", "x=1", "y=0.123456")
    outcome = app.sweep(search, "hydra.sweeper.max_trials=2")
    assert outcome.code == 0, outcome.output
    assert combinations(app)[1] == {"record": combinations(app)[0]["record"], "x": 1, "y": 0.123456}


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["x=tag(foo,interval(0,1))", RANDOM], ["has the tag foo"]),
        (["x=interval(1,0)", RANDOM], ["root(record).default.interval", "is not above"]),
        (["x=interval(0,1)", "hydra.sweeper.strategy.name=grid"], ["Add points: 5"]),
    ],
)
def test_what_is_no_interval_is_refused(app, typed, words):
    outcome = app.sweep(*typed)
    assert outcome.code == 1
    assert "Traceback" not in outcome.output
    for word in words:
        assert word in outcome.output, outcome.output
    assert not app.ledger.exists()
