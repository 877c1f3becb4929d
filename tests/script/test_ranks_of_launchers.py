"""Scripts whose ranks other launchers than torchrun and srun have started, and ranks that want to be none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dahps_core import Ledger
from tests.mpi import MPIRUN, mpirun
from tests.script.conftest import ENVIRONMENT, free_port
from tests.script.scripts import scripts  # noqa: F401 - a fixture

SCRIPT = Path(__file__).with_name("mpi_script.py")
RANKS = [
    {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"} for rank in "01"
]
DRAW = "agent = search(**eval(sys.argv[1]))\nprint(agent.combination['x'])\n"


@pytest.mark.parametrize("implementation", MPIRUN)
def test_the_processes_of_mpirun_are_the_ranks_of_a_trial(implementation, tmp_path):
    folder = tmp_path / "a user's folder, größer"
    folder.mkdir()
    subprocess.run(
        [*mpirun(implementation, 2), sys.executable, SCRIPT, folder, str(free_port())],
        env=os.environ | ENVIRONMENT,
        check=True,
        timeout=180,
    )
    held = [json.loads((folder / f"held.{rank}").read_text()) for rank in range(2)]
    assert held == [[[0, 1], [1, 2], [2, 3]]] * 2
    with Ledger.open(folder / "ledger") as ledger:
        trials = list(ledger.trials())
    assert {(trial.state.value, trial.attempts) for trial in trials} == {("finished", 1)}, "rank 1 drew none"
    assert len({trial.worker for trial in trials}) == 1


def test_ranks_of_a_plain_launcher_draw_once(scripts):  # noqa: F811
    first, second = (scripts.run(DRAW, "{}", **environ) for environ in RANKS)
    assert first.output == "0\n"
    assert "rank 1 of 2 has not received" in second.output
    assert 'ranks="independent"' in second.output
    assert len(scripts.trials()) == 1


@pytest.mark.parametrize(
    "use", ["agent.current or agent.load_checkpoint()", "agent.to_namespace(agent.get_new_combination())"]
)
def test_a_rank_that_does_not_synchronise_is_told_of_the_option(scripts, use):  # noqa: F811
    assert 'ranks="independent"' in scripts.run(f"agent = search()\n{use}", **RANKS[1]).output


def test_independent_ranks_draw_one_trial_each(scripts):  # noqa: F811
    code = "from dahps_core.torch_utils import sync_parameters\n" + (
        "agent = search(ranks='independent')\nprint(sync_parameters(0, agent).combination['x'])\n"
        "agent.finish_combination(0.0)\n"
    )
    outputs = [scripts.run(code, **environ).output for environ in RANKS]
    assert outputs == ["0\n", "1\n"]
    assert scripts.states() == ["finished"] * 2


def test_independent_ranks_of_torchrun_go_on_with_their_own_trials_when_they_are_restarted(scripts):  # noqa: F811
    code = "agent = search(ranks='independent', lease=600, heartbeat=200)\nprint(agent.current.number)\n"
    environ = {"TORCHELASTIC_RUN_ID": "a", "LOCAL_WORLD_SIZE": "2"}
    numbers = [
        [
            scripts.run(
                code + "sys.stdout.flush()\nos.kill(os.getpid(), 9)",
                **environ | one | {"LOCAL_RANK": one["RANK"], "TORCHELASTIC_RESTART_COUNT": str(restart)},
            ).output
            for one in RANKS
        ]
        for restart in range(2)
    ]
    assert numbers == [["0\n", "1\n"]] * 2


@pytest.mark.parametrize(
    ("environ", "what"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR and MASTER_PORT"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "contradict each other"),
    ],
)
def test_ranks_that_cannot_be_are_one_error_and_draw_nothing(scripts, environ, what):  # noqa: F811
    outcome = scripts.run(DRAW, "{}", **environ)
    assert what in outcome.output
    assert not (scripts.folder / "ledger").exists()


def test_ranks_without_a_meeting_point_may_be_independent(scripts):  # noqa: F811
    environ = {"RANK": "1", "WORLD_SIZE": "2"}
    assert scripts.run(DRAW, "{'ranks': 'independent'}", **environ).output == "0\n"


def test_the_option_is_checked(scripts):  # noqa: F811
    assert "together" in scripts.run(DRAW, "{'ranks': 'alone'}").output


def test_independent_ranks_of_one_process_group_contradict_themselves(scripts):  # noqa: F811
    code = """
import torch.distributed as dist, torch.testing._internal.distributed.fake_pg
dist.init_process_group("fake", store=dist.HashStore(), rank=1, world_size=2)
search(ranks="independent")
"""
    output = scripts.run(code).output
    assert "one of 2 ranks of a process group" in output
    assert "init_process_group" in output
