"""Several processes on one ledger: scripts beside scripts, and scripts beside Hydra's sweeper."""

import pytest

from tests.sweeper.conftest import App, override

LOOP = """
s = search({"root": {"key": "x", "values": list(range(60)), "default": None}})
for trial in s:
    with (FOLDER / "record").open("a") as record:
        record.write(f"{trial.number} {trial.combination['x']} {os.getpid()}\\n")
    s.finish_combination(trial.combination["x"])
"""


def test_processes_at_once_never_share_a_combination(scripts):
    ended = [scripts.end(script) for script in [scripts.start(LOOP) for _ in range(3)]]
    assert [outcome.code for outcome in ended] == [0] * 3, ended
    lines = [line.split() for line in (scripts.folder / "record").read_text().splitlines()]
    assert sorted(int(number) for number, _, _ in lines) == list(range(60))
    assert sorted(int(x) for _, x, _ in lines) == list(range(60))
    assert {(trial.state.value, trial.attempts) for trial in scripts.trials()} == {("finished", 1)}


def test_the_tasks_of_one_job_array_stop_together(scripts):
    code = "s = search(stop_after_failures=2)\nif s.combination: raise ValueError('no such layer')"
    for task in range(3):
        outcome = scripts.run(code, SLURM_ARRAY_JOB_ID="16", SLURM_ARRAY_TASK_ID=str(task))
    assert "the first 2 attempts all failed" in outcome.output
    assert outcome.code == 0
    assert scripts.states() == ["failed", "failed"]


HOLD = """
s = search(lease=600, heartbeat=200)
s.current.checkpoint_dir.joinpath("checkpoint").touch()
started()
go_on()
raise ValueError("rank 1 is gone")
"""
TELL = """
trial = search(lease=600, heartbeat=200).current
print(trial.number, trial.attempt, trial.checkpoint_dir.joinpath("checkpoint").exists())
"""


def torchrun(restarts, run="none"):
    return {"TORCHELASTIC_RUN_ID": run, "TORCHELASTIC_RESTART_COUNT": str(restarts)}


@pytest.mark.parametrize("is_killed", [True, False])
def test_what_torchrun_starts_anew_goes_on_with_the_same_trial(scripts, is_killed):
    first = scripts.started(HOLD, **torchrun(0))
    if is_killed:
        first.kill()
    scripts.go_on()
    scripts.end(first)
    assert scripts.run(TELL, **torchrun(1, run="another")).output == "1 1 False\n"
    assert scripts.run(TELL, **torchrun(1)).output == "0 2 True\n"


def test_what_torchrun_starts_anew_does_not_run_a_trial_without_end(scripts):
    code = "s = search(max_attempts=2)\nprint(s.current.number)\nraise ValueError('always')"
    outputs = [scripts.run(code, **torchrun(restarts)).output for restarts in range(3)]
    assert [output[0] for output in outputs] == ["0", "0", "1"]


def test_a_stopped_search_stays_stopped_when_torchrun_starts_a_process_anew(scripts):
    first = scripts.started(HOLD, **torchrun(0))
    scripts.say("stop")
    scripts.go_on()
    scripts.end(first)
    again = scripts.run("assert search().combination is None", **torchrun(1))
    assert again.code == 0, again.output
    assert "a person stopped the search" in again.output


def test_scripts_and_hydra_s_sweeper_go_on_with_each_other_s_search(scripts):
    app = App(scripts.folder)
    app.ledger = scripts.folder / "ledger"
    tree = {
        "root": {"key": "x", "values": [0.25, 0.5, 0.75, 1.0, 1.25, 1.5], "default": None},
        "common": {"record": str(app.record)},
    }
    code = """
from dahps_core import DistributedAsynchronousRandomSearch
tree, k = eval(sys.argv[1])
s = DistributedAsynchronousRandomSearch.from_config(FOLDER / "ledger", tree, k=k)
for trial in s:
    s.finish_combination(s.to_namespace(trial.combination).x)
"""
    assert scripts.run(code, repr((tree, 2))).code == 0
    swept = app.sweep(
        app.tree(tree), override("hydra.sweeper.ledger", app.ledger), "hydra.sweeper.max_trials=4"
    )
    assert swept.code == 0, swept.output
    assert sorted(number for number, _ in app.runs()) == [2, 3]
    assert scripts.run(code, repr((tree, None))).code == 0
    found = [(trial.combination["x"], trial.metric, trial.attempts) for trial in scripts.trials()]
    assert sorted(found) == [(x, x, 1) for x in tree["root"]["values"]]
    assert app.status()["best"]["metric"] == 0.25
    again = app.sweep(app.tree(tree), override("hydra.sweeper.ledger", app.ledger))
    assert "Nothing is left to run" in again.output
