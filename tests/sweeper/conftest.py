"""Runs a real app, as a person does, and tells what happened."""

import io
import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from dahps_core.cli import main as dahps
from dahps_core.space.overrides import to_overrides

APPS = Path(__file__).parent.parent / "apps"


@dataclass
class Outcome:
    code: int
    output: str
    folder: Path

    @property
    def results(self):
        return yaml.safe_load((self.folder / "optimization_results.yaml").read_text())


class App:
    """The recorder app, searched in a folder of its own.

    Args:
        folder: The working directory of every command; hostile to careless quoting.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = APPS / "recorder.py"
        self.record = folder / "record.txt"
        self.ledger = folder / "dahps" / "recorder"
        self._sweeps = 0

    def command(self, *overrides, sweep_dir=None):
        self._sweeps += 1
        sweep_dir = sweep_dir or self.folder / f"sweep{self._sweeps}"
        arguments = [
            "-m",
            "hydra/sweeper=dahps",
            override("record", self.record),
            override("hydra.sweep.dir", sweep_dir),
            override("hydra.sweeper.ledger", self.ledger),
            "hydra.sweeper.heartbeat=0.5",
            "hydra.sweeper.lease=3",
            "hydra.sweeper.grace=1",  # SLURM's own is short here
            *overrides,
        ]
        return [sys.executable, str(self.script), *arguments], sweep_dir

    def start(self, *overrides, **popen):
        command, sweep_dir = self.command(*overrides)
        environment = {**os.environ, "PYTHONPATH": str(self.folder), **popen.pop("env", {})}
        output = self.folder / f"output{self._sweeps}.txt"
        with output.open("w") as file:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=file, stderr=subprocess.STDOUT, **popen
            )
        process.output = output
        process.sweep_dir = sweep_dir
        return process

    def wait(self, process, timeout_s=120):
        code = process.wait(timeout_s)
        return Outcome(code, process.output.read_text(), process.sweep_dir)

    def sweep(self, *overrides, **options):
        return self.wait(self.start(*overrides, **options))

    def tree(self, config):
        """Make `config` importable by the app as hydra.sweeper.search=tree:config."""
        (self.folder / "tree.py").write_text(f"from math import inf, nan\nconfig = {config!r}\n")
        return "hydra.sweeper.search=tree:config"

    def runs(self):
        """(number, attempt) -> how often it was run."""
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return Counter(tuple(map(int, line.split()[:2])) for line in lines)

    def signal_a_worker(self, number):
        """Send a signal to the worker whose trial was recorded first; returns that trial's number."""
        os.kill(next(self.workers()), number)
        return int(self.record.read_text().split()[0])

    def workers(self):
        """The processes whose trials were recorded, and run, in that order."""
        for line in self.record.read_text().splitlines():
            child = line.split()[2]
            yield int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])

    def trials(self):
        return self._told("trials", "--format=json")

    def status(self):
        return self._told("status", "--json")

    def query(self, sql, *parameters):
        """The rows that the ledger's database has for a query."""
        with closing(sqlite3.connect(self.ledger / "ledger.db")) as database:
            return database.execute(sql, parameters).fetchall()

    def _told(self, command, form):
        """What a command tells programs of the ledger."""
        output = io.StringIO()
        with redirect_stdout(output):
            assert dahps([command, str(self.ledger), form]) == 0
        return json.loads(output.getvalue())


def override(key, value):
    """An override that survives hostile paths."""
    return to_overrides({key: str(value)})[0]


@pytest.fixture
def app(tmp_path):
    folder = tmp_path / "a user's folder, größer"
    folder.mkdir()
    return App(folder)


@pytest.fixture
def project(tmp_path):
    from tests.sweeper.idioms import Project  # which is an App

    folder = tmp_path / "a user's project, größer"
    folder.mkdir()
    return Project(folder)
