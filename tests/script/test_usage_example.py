"""The usage example of the program that came before, as it was written; what it left out is filled in.

Its config's three slips are fixed: a tuple of a tree, an empty list of values, `value` in place of `values`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dahps_core import Ledger
from tests.space import seeds_tree

EXAMPLE = Path(__file__).with_name("usage_example")
ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.mark.parametrize("launcher", [[], TORCHRUN], ids=["alone", "torchrun"])
def test_the_usage_example_runs_as_it_was_written(tmp_path, launcher):
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RANK": "0", "WORLD_SIZE": "1"}
    shutil.copy(EXAMPLE / "train.py", tmp_path)
    (tmp_path / "config.py").write_text(seeds_tree.mended_text())
    command = [sys.executable, *launcher, "train.py"]
    ran = subprocess.run(command, cwd=tmp_path, env=environ, timeout=120, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("saving checkpoint") == 1
    with Ledger.open(tmp_path / "hp_test") as ledger:
        assert ledger.search.space.size == seeds_tree.SIZE
        (trial,) = ledger.trials()
        assert (trial.state.value, trial.attempts) == ("finished", 1)
        assert trial.metric >= 0
        assert ledger.worker_counts() == {"working": 0, "waiting": 0, "left": 1}
        states = torch.load(ledger.checkpoint_dir(0) / "checkpoint.pt")
        assert states["world_size"] == (2 if launcher else 1)
