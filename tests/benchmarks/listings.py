"""What small answers and the report cost at a million trials, beside a bare query in the same run.

Each command is a process of its own, from start to end. So is the bare query for the best trial, which
imports SQLite alone. Prints processor seconds and the peak of memory of each, and whether they keep their
bounds: a second more than the bare query and 100 MB; half a minute and 500 MB for the report.

Run: python tests/benchmarks/listings.py [--trials 1000000] [--ledgers FOLDER]
"""

import argparse
import os
import subprocess
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path

import yaml
from stress import verdict

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1] / "ledger"))
from dahps_core import Search, SearchSpace
from dahps_core.ledger import FILE_NAME
from dahps_core.strategies.brackets import Brackets
from tests import large_ledgers
from tests.synthetic import SEEDS

LONGEST_S, LARGEST_MB = 1.0, 100
LONGEST_REPORT_S, LARGEST_REPORT_MB = 30.0, 500

COMMANDS = {
    "best": ["best"],
    "sorted by metric": ["trials", "--sort", "metric", "--limit", "5"],
    "sorted, with values": ["trials", "dataset=cifar10", "--sort", "metric", "--limit", "5"],
    "failed ones": ["trials", "--state", "failed", "--limit", "5"],
    "running ones": ["trials", "--state", "running"],
    "status": ["status"],
    "show": ["show", "3"],
    "report": ["report"],
}
BARE = (
    "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT number FROM trial"
    ' WHERE state = "finished" AND metric IS NOT NULL ORDER BY metric, number LIMIT 1\').fetchall())'
)
ROW = "{:<24}{:>10}{:>10}  {}"


def searches() -> dict[str, Search]:
    """The searches by the names of their ledgers."""
    tree = yaml.safe_load(SEEDS.read_text())
    space, repeated = (SearchSpace.from_config({**tree, "repetitions": n}) for n in (1, 3))
    return {
        "minimize": Search(space, seed=1),
        "maximize": Search(space, seed=1, direction="maximize"),
        "repetitions": Search(repeated, seed=1),
        "hyperband": Search(space, "hyperband", seed=1, brackets=Brackets.of(max_resource=81)),
    }


def fill(folder: Path, search: Search, n_trials: int) -> None:
    """In a process of its own: a child begins with the peak of memory that its parent has at that time."""
    process = get_context("spawn").Process(target=large_ledgers.fill, args=(folder, search, n_trials))
    process.start()
    process.join()
    assert process.exitcode == 0


def cost(command: list[str]) -> tuple[float, float]:
    """Processor seconds, and the peak of memory in MB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1_000_000)
    parser.add_argument("--ledgers", type=Path, help="made there, unless they are there already")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for kind, search in searches().items():
            folder = (options.ledgers or Path(name)) / kind
            if not folder.exists():
                folder.parent.mkdir(parents=True, exist_ok=True)
                fill(folder, search, options.trials)
            bare_s, bare_mb = cost([sys.executable, "-c", BARE, str(folder / FILE_NAME)])
            print(ROW.format(kind, f"{bare_s:.2f} s", f"{bare_mb:.0f} MB", "a bare query"), flush=True)
            for what, (command, *words) in COMMANDS.items():
                dahps = [sys.executable, "-m", "dahps_core", command, str(folder), *words]
                if command == "report":
                    dahps += ["-o", str(folder / "report.html")]
                print_row(what, *cost(dahps), bare_s, is_report=command == "report")
    return 0


def print_row(what: str, seconds: float, peak_mb: float, bare_s: float, *, is_report: bool) -> None:
    longest_s, largest_mb = (LONGEST_REPORT_S, LARGEST_REPORT_MB) if is_report else (LONGEST_S, LARGEST_MB)
    kept = verdict(seconds - bare_s <= longest_s and peak_mb <= largest_mb)
    ratio = f"{seconds / bare_s:.0f} times the bare query"
    print(ROW.format(f"  {what}", f"{seconds:.2f} s", f"{peak_mb:.0f} MB", f"{ratio} {kept}"), flush=True)


if __name__ == "__main__":
    sys.exit(main())
