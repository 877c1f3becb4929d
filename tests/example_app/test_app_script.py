"""The example's script: a search under torchrun, continued by one process alone."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from dahps_core import Ledger, SearchSpace
from dahps_core.model.records import TrialRecord, TrialState

EPOCHS = 2


def run(app: Path, ledger: Path, k: int, *launcher: str) -> None:
    arguments = ["search.py", "--path", str(ledger), "--epochs", str(EPOCHS), "--k", str(k)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *launcher, *arguments], cwd=app, env=environment, check=True, timeout=240)


def trials(folder: Path) -> list[TrialRecord]:
    with Ledger.open(folder) as ledger:
        return list(ledger.trials())


def test_two_ranks_search_and_one_process_goes_on_with_their_search(app: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "a ledger"
    run(app, ledger, 2, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    assert len(trials(ledger)) == 2
    run(app, ledger, 3)
    found = trials(ledger)
    assert [(trial.state, trial.attempts) for trial in found] == [(TrialState.FINISHED, 1)] * 3
    for trial in found:
        checkpoint = ledger / "checkpoints" / str(trial.number) / "checkpoint.pt"
        assert torch.load(checkpoint, weights_only=True)["accuracy"] == trial.metric
        with Ledger.open(ledger) as reader:
            history = reader.history(trial.number)
        assert [(attempt, step) for attempt, step, _ in history] == [(1, 1), (1, 2)]
        assert history[-1][2] == trial.metric
    assert len({trial.worker for trial in found}) == 2, (
        "one worker was two processes, and the other one was one"
    )


def test_each_combination_of_its_space_makes_a_model(app: Path) -> None:
    from config import experiment_config
    from dahps_core.script.namespace import to_namespace
    from search import build_model, create_parser

    space = SearchSpace.from_config(experiment_config)
    assert len(space) == 20
    for combination in space:
        model = build_model(to_namespace(combination, create_parser().parse_args([])))
        assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
