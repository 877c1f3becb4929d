"""Scripts that change their directory, and name their ledger by a relative path."""

import pytest

CHANGING = """
from collections import defaultdict
from dahps_core.ledger.sqlite.storage_errors import fresh_stamp

hearts = FOLDER / "ledger" / "heartbeats"
options = {"heartbeat": 0.2, "lease": 5.0, "locking": sys.argv[1], "seed": 1}
agent = DistributedAsynchronousGridSearch.from_config("ledger", {**CONFIG, "repetitions": 1}, **options)
for trial in agent:
    with open(FOLDER / "begun", "a") as file:
        file.write(f"{trial.number} {trial.attempt}\\n")
    Path(f"runs/{os.getpid()}").mkdir(parents=True, exist_ok=True)
    os.chdir(f"runs/{os.getpid()}")
    beats, deadline = defaultdict(set), time.monotonic() + 30
    while time.monotonic() < deadline:
        present = os.listdir(hearts)
        for name in present:
            beats[name].add(fresh_stamp(hearts / name))
        if all(len(beats[name]) > 4 for name in present):
            break
        time.sleep(0.02)
    agent.save_checkpoint({"x": trial.combination["x"]})
    agent.finish_combination(float(trial.number))
    os.chdir(FOLDER)
"""


@pytest.mark.parametrize("locking", ["fcntl", "folder"])
def test_each_trial_of_a_relative_ledger_is_executed_once(scripts, locking):
    for process in [scripts.start(CHANGING, locking) for _ in range(3)]:
        outcome = scripts.end(process)
        assert outcome.code == 0, outcome.output
    assert sorted((scripts.folder / "begun").read_text().splitlines()) == ["0 1", "1 1", "2 1"]
    assert scripts.states() == ["finished"] * 3
    saved = (scripts.folder / "ledger").glob("checkpoints/*/checkpoint.pt")
    assert {path.parent.name for path in saved} == {"0", "1", "2"}
