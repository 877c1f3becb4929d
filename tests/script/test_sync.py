"""sync_parameters over real process groups: what rank 0 claims, all ranks hold."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dahps_core import Ledger, Search, SearchSpace
from dahps_core.model.records import TrialState
from tests.script.conftest import ENVIRONMENT
from tests.script.sync_script import CONFIG, VALUES
from tests.support import wait_until

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("sync_script.py")


class Group:
    """Processes that run `sync_script.py`.

    Args:
        folder: Of the ledger, and of what they tell.
    """

    def __init__(self, folder, size=2):
        self.folder = folder
        self.size = size

    def start(self, way, launcher="torchrun"):
        return subprocess.Popen(
            [sys.executable, SCRIPT, self.folder, str(self.size), launcher, way],
            env={**os.environ, **ENVIRONMENT},
        )

    def run(self, way, launcher="torchrun"):
        """What each rank tells, in their order."""
        process = self.start(way, launcher)
        assert process.wait(120) == 0
        return self.told()

    def told(self):
        return [json.loads((self.folder / f"told.{rank}").read_text()) for rank in range(self.size)]

    def trials(self):
        with Ledger.open(self.folder / "ledger") as ledger:
            return list(ledger.trials())


def types(values):
    return [(type(value), value) for value in values]


@pytest.mark.parametrize("size", [2, 4])
def test_all_ranks_hold_the_same_combinations_of_which_rank_0_claimed_one_at_a_time(tmp_path, size):
    group = Group(tmp_path, size)
    told = group.run("search")
    assert all(types(one["held"]) == types(VALUES) for one in told), "exactly the same values"
    assert [one["numbers"] for one in told] == [list(range(len(VALUES)))] * size
    assert {one["why"] for one in told} == {told[0]["why"]}, "the search is exhausted on all of them"
    assert "all combinations (or the `k` requested) are drawn" in told[0]["why"]
    trials = group.trials()
    assert [(trial.state, trial.attempts) for trial in trials] == [(TrialState.FINISHED, 1)] * len(VALUES)
    assert len({trial.worker for trial in trials}) == 1, "one rank alone is a worker"


@pytest.mark.parametrize("launcher", ["spawn", "early spawn"])
def test_processes_whose_environment_tells_nothing_come_to_hold_one_combination(tmp_path, launcher):
    group = Group(tmp_path)
    told = group.run("search", launcher)
    assert told[0]["numbers"] == told[1]["numbers"]
    assert types(sorted(told[0]["held"], key=str)) == types(sorted(VALUES, key=str))
    assert {trial.state for trial in group.trials()} == {TrialState.FINISHED}


def test_a_rank_that_asks_before_it_knows_is_told_how_to_know(tmp_path):
    told = Group(tmp_path).run("ask_too_early")
    assert told[0] == {"held": VALUES[0]}
    assert "sync_parameters" in told[1]["error"]


def test_a_rank_that_is_mistaken_for_another_is_told(tmp_path):
    errors = [one["error"] for one in Group(tmp_path).run("mistake_the_rank")]
    assert "got rank=1, but this is rank 0" in errors[0]
    assert "got rank=0, but this is rank 1" in errors[1]


def test_ranks_without_a_process_group_are_told_that_they_need_one(tmp_path):
    errors = [one["error"] for one in Group(tmp_path).run("forget_the_group")]
    assert all("init_process_group" in error for error in errors)


def test_a_trial_that_a_rank_has_not_begun_is_given_back_when_the_rank_dies(tmp_path):
    group = Group(tmp_path)
    assert group.start("die_before").wait(120) != 0
    (trial,) = group.trials()
    assert trial.state is TrialState.RELEASED, "rank 0 found it out, or was told to end"


def test_ranks_wait_for_a_trial_longer_than_their_process_group_waits_for_anything(tmp_path):
    group = Group(tmp_path)
    ledger = Ledger.join(
        tmp_path / "ledger", Search(SearchSpace.from_config(CONFIG), "grid", "minimize", None, None)
    )
    ledger.pause()
    process = group.start("wait_long")
    try:
        wait_until(lambda: (tmp_path / "waited").exists(), 120, "a wait longer than the group's timeout")
        assert process.poll() is None
        ledger.resume()
        assert process.wait(120) == 0
    finally:
        process.kill()
        ledger.close()
    assert [one["held"] for one in group.told()] == [VALUES[0]] * 2


def test_one_process_needs_no_group(tmp_path):
    code = (
        "import pathlib, sys\n"
        "from tests.script.sync_script import SearchExhausted, new_agent, sync_parameters\n"
        "agent = new_agent(pathlib.Path(sys.argv[1]), k=1)\n"
        "assert sync_parameters(0, agent) is agent\n"
        "agent.finish_combination(0.0)\n"
        "agent.get_new_combination()\n"
        "try: sync_parameters(0, agent)\n"
        "except SearchExhausted as error: print(error)\n"
    )
    environment = {**os.environ, **ENVIRONMENT}
    told = subprocess.check_output([sys.executable, "-c", code, tmp_path], env=environment, text=True)
    assert "all combinations (or the `k` requested) are drawn" in told


GROUP_OF_ONE = """
import os, torch, {module}
torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))
torch.distributed.destroy_process_group()
print(*(open(f"/proc/self/task/{{thread}}/comm").read() for thread in os.listdir("/proc/self/task")))
"""


@pytest.mark.parametrize(
    ("module", "folder"), [("dahps_core.torch_utils", ROOT), ("ranks", ROOT / "example_app")]
)
def test_no_thread_of_a_group_outlives_it_and_aborts_its_process_at_the_end(module, folder):
    code = GROUP_OF_ONE.format(module=module)
    command = [sys.executable, "-c", code]
    told = subprocess.check_output(command, env={**os.environ, "PYTHONPATH": str(folder)}, text=True)
    assert "gloo" not in told
