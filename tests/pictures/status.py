"""Draw what `dahps status` shows of a search of the seeds' tree: `python -m tests.pictures.status FILE.svg`.

The trials are claimed and ended here, without training; the command is the real one, on a terminal.
"""

import os
import pty
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from rich.console import Console
from rich.text import Text

from dahps_core import Ledger, Search
from dahps_core.cli.space import read_space
from dahps_core.ledger.folder.heartbeat import Heart
from dahps_core.ledger.folder.run_limits import keep_limits
from dahps_core.worker.options import WorkerOptions
from tests.synthetic import Wall

SEEDS = Path(__file__).parents[2] / "example_app/conf/search/seeds.yaml"
LIMITS = {"max_trials": None, "max_attempts": 3, "stop_after_failures": None}
N_TRIALS = 60
N_BUDGET = 500
#: That a trial takes.
MINUTES = 18
WIDTH = 110


def search(folder: Path) -> None:
    """Sixty trials by four workers, each on a node; each still runs one."""
    wall = Wall(time.time())
    seeds = Search(read_space(str(SEEDS)), direction="maximize", seed=1)
    with Ledger.join(folder, seeds) as ledger, mock.patch("time.time", wall):
        workers = [
            ledger.register(run="run", host=f"node{n}", pid=4100 + n, job=f"8812_{n}") for n in range(4)
        ]
        for number in range(N_TRIALS):
            claim = ledger.claim(workers[number % 4], **LIMITS)
            metric = 0.5 + (37 * number % 61) / 150
            if number >= N_TRIALS - 4:
                break
            wall.now += MINUTES * 60 / len(workers)
            ledger.finish_if_held(claim, result=metric, metric=metric, output_dir=f"multirun/{number}")
        keep_limits(folder, "run", WorkerOptions(N_BUDGET, 3, 5, 15, 120, isolate=True).limits())
        for worker in workers:
            Heart(folder, worker).beat()
        for worker in workers[1:]:
            ledger.claim(worker, **LIMITS)


def shown(folder: Path) -> str:
    """What the command writes to a terminal."""
    written = bytearray()

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 65536)
        written.extend(data)
        return data

    os.environ["COLUMNS"] = str(WIDTH)  # this terminal has no size
    pty.spawn([sys.executable, "-m", "dahps_core", "status", str(folder)], read)
    return written.decode().replace("\r\n", "\n")


def main(picture: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "seeds"
        search(folder)
        text = shown(folder).replace(name, "/scratch/dahps")
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere)
        console.print(Text(f"$ dahps status /scratch/dahps/seeds\n{text}"))
    console.save_svg(picture, title="dahps status")


if __name__ == "__main__":
    main(sys.argv[1])
