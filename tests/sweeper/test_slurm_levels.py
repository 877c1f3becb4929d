"""HyperBand on a real SLURM: no barrier, and a killed worker's promotion goes on from its checkpoint."""

import json
import os
import signal
from collections import defaultdict

import pytest

from dahps_core.ledger.repair.check import violations
from tests.slurm.cluster import parent_of
from tests.support import wait_until
from tests.sweeper.conftest import APPS

pytestmark = pytest.mark.slurm

OPTIONS = [
    "hydra/launcher=submitit_slurm",
    "hydra.launcher.timeout_min=20",
    "hydra.sweeper.n_workers=6",
    "hydra/sweeper/strategy=asha",
    "hydra.sweeper.strategy.max_resource=27",
    "hydra.sweeper.strategy.resource_key=n_steps",
    "step_s=0.2",
]


def events_of(app):
    """What the trials wrote down, by time."""
    lines = app.record.read_text().splitlines() if app.record.exists() else []
    return sorted(map(json.loads, lines), key=lambda event: event["at"])


def test_promotions_wait_for_nobody_and_survive_their_workers(app, slurm):
    app.script = APPS / "checkpointing.py"
    app.ledger = app.folder / "dahps" / "checkpointing"
    sweep = app.start("x=range(27)", *OPTIONS)

    def far_up():
        return [event for event in events_of(app) if event["what"] == "step" and event["step"] == 5]

    killed = wait_until(far_up, 180, "a trial at the third level")[0]
    os.kill(parent_of(killed["pid"]), signal.SIGKILL)
    outcome = app.wait(sweep, timeout_s=300)
    assert outcome.code == 0, outcome.output
    events, trials = events_of(app), app.trials()
    assert_no_barrier(events)
    assert_no_step_twice(events, trials)
    resumed = [event for event in events if event["number"] == killed["number"] and event["what"] == "start"]
    assert [event["step"] for event in resumed][:2] == [0, 1], "at each level from its checkpoint"
    assert any(event["step"] >= 5 and event["at"] > killed["at"] for event in resumed)
    assert {trial["state"] for trial in trials} == {"finished"}
    assert app.status()["best"]["resource"] == 27
    assert list(violations(app.ledger)) == []
    wait_until(lambda: not slurm.squeue(), 60, "the end of all jobs")


def assert_no_barrier(events):
    """There was a promotion beside which other trials ran, and before which others had not begun."""
    runs = defaultdict(list)
    for event in events:
        runs[event["number"], event["attempt"]].append(event)
    spans = {key: (run[0]["at"], run[-1]["at"]) for key, run in runs.items()}
    promotions = [key for key, run in runs.items() if run[0]["what"] == "start" and run[0]["step"] > 0]
    last_begun = max(begun for (_, attempt), (begun, _) in spans.items() if attempt == 1)
    assert any(
        spans[one][0] < last_begun
        and any(overlap(spans[one], spans[other]) for other in spans.keys() - {one})
        for one in promotions
    )


def overlap(one, other):
    return one[0] < other[1] and other[0] < one[1]


def assert_no_step_twice(events, trials):
    for trial in trials:
        steps = [e["step"] for e in events if e["number"] == trial["number"] and e["what"] == "step"]
        assert steps == sorted(set(steps)), "none twice, over all its levels"
        # Whoever is killed may have saved the last step and not have told it.
        assert len(steps) >= trial["resource"] - 1
        assert steps[-1] == trial["resource"]
