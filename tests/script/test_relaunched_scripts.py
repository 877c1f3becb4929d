"""A script that its own trial starts again, for further ranks: it holds that trial, and records nothing."""

import json

import pytest

from tests.script.scripts import scripts  # noqa: F401 - a fixture

RELAUNCH = """
import json, subprocess
rank = int(os.environ.get("LOCAL_RANK", 0))

def relaunch(*command, **environ):
    command = command or [sys.executable, *sys.argv]
    environ = {**os.environ, "LOCAL_RANK": "1", "WORLD_SIZE": "2", **environ}
    return subprocess.run(command, env=environ, timeout=300, capture_output=True, text=True)

def note(trial):
    facts = [trial.number, trial.attempt, dict(trial.combination), str(trial.checkpoint_dir)]
    (FOLDER / f"{trial.number}.{rank}.json").write_text(json.dumps(facts))
"""
BODIES = {
    "a loop": """
agent = search(CONFIG)
for trial in agent:
    note(agent.current)
    agent.report(rank, rank)
    if rank == 0:
        assert relaunch().returncode == 0
    agent.finish_combination(agent.combination["x"])
if rank:
    assert agent.combination == trial.combination and agent.current is None
    assert agent.get_new_combination() is None and agent.combination is None
""",
    "a block": """
agent = search(CONFIG)
while agent.combination is not None:
    with agent.trial() as trial:
        note(current_trial())
        trial.report(trial.combination["x"], rank)
        if rank == 0:
            assert relaunch().returncode == 0
    agent.get_new_combination()
""",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_it_holds_the_trial_of_the_process_that_started_it(scripts, body):  # noqa: F811
    outcome = scripts.run(RELAUNCH + body)
    assert outcome.code == 0, outcome.output
    trials = scripts.trials()
    assert [(trial.state.value, trial.metric, trial.attempts) for trial in trials] == [
        ("finished", float(trial.combination["x"]), 1) for trial in trials
    ]
    for number in 0, 1, 2:
        first, second = (
            json.loads((scripts.folder / f"{number}.{rank}.json").read_text()) for rank in (0, 1)
        )
        assert first == second
        with scripts.ledger as ledger:
            assert [step for _, step, _ in ledger.history(number)] == [0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("relaunch(sys.executable, str(other))", "another program"),
        ("relaunch(ROOT='1')", "searches another space"),
    ],
)
def test_what_searches_something_else_is_refused(scripts, call, words):  # noqa: F811
    outcome = scripts.run(
        RELAUNCH
        + f"""
root = {{"key": "y", "values": [0], "default": None}}
agent = search({{"root": root}} if "ROOT" in os.environ else CONFIG)
other = FOLDER / "other.py"
other.write_text(Path(sys.argv[0]).read_text())
outcome = {call}
assert outcome.returncode == 1
print(outcome.stderr)
assert {words!r} in outcome.stderr and "unset DAHPS_TRIAL" in outcome.stderr
agent.finish_combination(0.0)
assert "DAHPS_TRIAL" not in os.environ
"""
    )
    assert outcome.code == 0, outcome.output
    assert scripts.states() == ["finished"]


def test_after_the_attempt_it_is_refused(scripts):  # noqa: F811
    outcome = scripts.run(
        RELAUNCH
        + """
agent = search(CONFIG)
late = os.environ["DAHPS_TRIAL"]
agent.finish_combination(0.0)
outcome = relaunch(DAHPS_TRIAL=late)
assert outcome.returncode == 1
assert "attempt 1 of this trial, which is over" in outcome.stderr, outcome.stderr
"""
    )
    assert outcome.code == 0, outcome.output
    assert scripts.states() == ["finished"]


def test_lightning_trains_each_trial_of_a_script_on_both_ranks(scripts):  # noqa: F811
    outcome = scripts.run(
        """
from tests.apps.lightning_training import fit

if __name__ == "__main__":
    agent = search({"root": {"key": "lr", "values": [0.1, 0.5], "default": None}})
    for trial in agent:
        agent.finish_combination(fit(trial.combination["lr"], FOLDER))
"""
    )
    assert outcome.code == 0, outcome.output
    for trial in scripts.trials():
        lr = trial.combination["lr"]
        for rank in 0, 1:
            facts = json.loads((scripts.folder / f"{trial.number}.{rank}.json").read_text())
            assert facts == {"lr": lr, "weight": pytest.approx(-2 * lr), "combination": {"lr": lr}, "size": 2}
    assert scripts.states() == ["finished"] * 2
