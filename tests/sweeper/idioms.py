"""An app with configs as people write them, copied for a test that may edit them."""

import json
import shutil
import sys

from tests.support import wait_until
from tests.sweeper.conftest import APPS, App

#: Python reads this at its start: a job of submitit waits until the test lets it in.
GATE = """
import sys, time
from pathlib import Path
if "submitit.core._submit" in sys.orig_argv:
    while not Path({gate!r}).exists():
        time.sleep(0.02)
"""


class Project(App):
    """The app of the folder `idioms`; what `runs` are to the recorder app, `configs` are here.

    Attributes:
        program: Starts the app.
        flags: Come before all overrides.
        sweeper: The overrides that choose it.
    """

    def __init__(self, folder):
        super().__init__(folder)
        self.program = [sys.executable, str(folder / "train.py")]
        self.flags = ["-m"]
        self.sweeper = ["hydra/sweeper=dahps"]
        self.ledger = folder / "dahps" / "train"
        self.gate = folder / "gate"
        shutil.copytree(APPS / "idioms", folder, dirs_exist_ok=True)

    def command(self, *overrides, sweep_dir=None):
        command, sweep_dir = super().command(*overrides, sweep_dir=sweep_dir)
        common = command[command.index("hydra/sweeper=dahps") + 1 :]
        return [*self.program, *self.flags, *self.sweeper, *common], sweep_dir

    def configs(self):
        """The config of each run, in their order."""
        return [run["config"] for run in self.records()]

    def records(self):
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return [json.loads(line) for line in lines]

    def wait_for_trials(self, count):
        wait_until(
            lambda: sum(trial["state"] == "finished" for trial in self.trials()) == count,
            120,
            f"{count} finished trials",
        )

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def edit(self, name, old, new):
        text = (self.folder / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def close_gate(self):
        """The jobs of submitit wait from now on, as if they were queued, until `gate` is touched."""
        self.write("sitecustomize.py", GATE.format(gate=str(self.gate)))
