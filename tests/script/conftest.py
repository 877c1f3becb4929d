"""Training scripts under torchrun, and what comes of them."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dahps_core import Ledger
from tests.script.scripts import scripts  # noqa: F401 - a fixture
from tests.support import wait_until

ROOT = Path(__file__).resolve().parents[2]
RANK_SCRIPT = Path(__file__).with_name("rank_script.py")
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    # Else a group that torchrun starts anew may look for the processes before it, whose addresses are still
    # in the store (pytorch/pytorch#135712).
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Torchrun:
    """Starts `rank_script.py` by torchrun, several times at once if need be.

    Args:
        folder: Of the ledger and the notes; hostile to careless quoting.
    """

    def __init__(self, folder):
        self.folder = folder
        self.jobs = []

    def start(self, *behaviours, n=2, max_restarts=0, script=RANK_SCRIPT, **options):
        """A job of n processes."""
        # What --standalone means, but for one address that is known and not looked up.
        meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port()}", "--rdzv-id=none"]
        launcher = ["--nproc-per-node", str(n), "--local-addr=127.0.0.1", *meeting]
        restarts = ["--max-restarts", str(max_restarts), "--monitor-interval=0.1"]
        arguments = [script, self.folder, json.dumps({"behaviours": behaviours, **options})]
        output = self.folder / f"output{len(self.jobs)}.txt"
        with output.open("w") as file:
            job = subprocess.Popen(
                [sys.executable, "-m", "torch.distributed.run", *launcher, *restarts, *arguments],
                env={**os.environ, **ENVIRONMENT},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        job.output = output
        self.jobs.append(job)
        return job

    def ranks(self, job):
        """The processes of a job; none if it has ended."""
        path = Path(f"/proc/{job.pid}/task/{job.pid}/children")
        return [int(pid) for pid in path.read_text().split()] if job.poll() is None else []

    def kill(self, job):
        """Kill a job as the loss of its host does: all at once."""
        for pid in (*self.ranks(job), job.pid):
            os.kill(pid, signal.SIGKILL)

    def run(self, *behaviours, **options):
        """Run a job to its end; its exit code."""
        return self.start(*behaviours, **options).wait(120)

    def notes(self, what):
        path = self.folder / "notes.jsonl"
        notes = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [note for note in notes if note["what"] == what]

    def await_notes(self, what, count):
        wait_until(lambda: len(self.notes(what)) >= count, 120, f"{count} times {what}: {self.output}")
        return self.notes(what)

    @property
    def output(self):
        return "\n".join(job.output.read_text() for job in self.jobs)

    def trials(self):
        """By their behaviour."""
        with Ledger.open(self.folder / "ledger") as ledger:
            return {trial.combination["behaviour"]: trial for trial in ledger.trials()}

    def history(self, number):
        """(attempt, step) of all that was reported."""
        with Ledger.open(self.folder / "ledger") as ledger:
            return [(attempt, step) for attempt, step, _ in ledger.history(number)]


@pytest.fixture
def torchrun(tmp_path):
    folder = tmp_path / "a user's folder, größer"
    folder.mkdir()
    torchrun = Torchrun(folder)
    yield torchrun
    for job in torchrun.jobs:
        if job.poll() is None:
            torchrun.kill(job)
        job.wait(60)
