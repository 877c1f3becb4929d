"""Scripts that search, each in a process of its own, and what comes of them."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dahps_core import Ledger
from tests.support import wait_until

ROOT = Path(__file__).resolve().parents[2]

PREAMBLE = """
import logging, os, signal, sys, threading, time
from pathlib import Path
from dahps_core import DistributedAsynchronousGridSearch, SearchExhausted, current_trial
from tests.support import wait_until

FOLDER = Path.cwd()
CONFIG = {"root": {"key": "x", "values": [0, 1, 2], "default": None}}

def search(config=CONFIG, **options):
    options = {"heartbeat": 0.2, "lease": 1.5, "grace": 60, **options}
    return DistributedAsynchronousGridSearch.from_config(FOLDER / "ledger", config, **options)

def started():
    (FOLDER / "started").touch()

def go_on():
    wait_until((FOLDER / "go on").exists, 60, "the word to go on")

def until_told(trial):
    started()
    wait_until(lambda: trial.preempted, 60, "the word to leave", pause_s=0.01)
"""


@dataclass
class Outcome:
    code: int
    output: str


class Scripts:
    """Runs code after PREAMBLE in a folder of its own.

    Args:
        folder: Hostile to careless quoting.
    """

    def __init__(self, folder):
        self.folder = folder
        self.processes = []

    def start(self, code, *arguments, **environ):
        output = self.folder / f"output{len(self.processes)}.txt"
        with output.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, self.script(code), *arguments],
                cwd=self.folder,
                env=self.environ(**environ),
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process.output = output
        self.processes.append(process)
        return process

    def script(self, code):
        path = self.folder / f"script{len(self.processes)}.py"
        path.write_text(PREAMBLE + code)
        return path

    def environ(self, **more):
        return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}

    def end(self, process):
        return Outcome(process.wait(180), process.output.read_text())

    def run(self, code, *arguments, **environ):
        return self.end(self.start(code, *arguments, **environ))

    def started(self, code, **environ):
        """A script that has called `started()`."""
        process = self.start(code, **environ)
        path = self.folder / "started"
        wait_until(lambda: path.exists() or process.poll() is not None, 60, "the script")
        assert path.exists(), process.output.read_text()
        path.unlink()
        return process

    def go_on(self):
        (self.folder / "go on").touch()

    @property
    def ledger(self):
        return Ledger.open(self.folder / "ledger")

    def trials(self):
        with self.ledger as ledger:
            return list(ledger.trials())

    def states(self):
        return [trial.state.value for trial in self.trials()]

    def say(self, *words):
        """A person's command."""
        command, *rest = words
        subprocess.run(
            [sys.executable, "-m", "dahps_core", command, self.folder / "ledger", *map(str, rest)],
            cwd=ROOT,
            check=True,
            capture_output=True,
            timeout=60,
        )


@pytest.fixture
def scripts(tmp_path):
    folder = tmp_path / "a user's folder, größer"
    folder.mkdir()
    scripts = Scripts(folder)
    yield scripts
    for process in scripts.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
