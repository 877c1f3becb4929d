"""Checkpoints and histories of processes that are killed in the middle of writing them."""

import os
import subprocess
import sys
from pathlib import Path

from tests.faults.storage import FaultyStorage

ROOT = Path(__file__).resolve().parents[2]


def test_a_kill_at_any_call_leaves_a_whole_checkpoint_and_a_history_without_a_gap(tmp_path):
    folder = tmp_path / "storage"
    folder.mkdir()
    environment = FaultyStorage(folder, tmp_path / "control").environment()
    work = subprocess.run(
        [sys.executable, Path(__file__).with_name("checkpoint_work.py"), folder],
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert work.returncode == 0, work.stderr
    assert int(work.stdout) > 10, "a trap that never snapped shows nothing"
