"""Regret over the resource that all workers use: HyperBand and ASHA beside random search and two peers.

Sixteen workers in simulated time draw from a real ledger, twenty seeds each. The incumbent is the best trial
of the highest level so far, and its regret is that without noise. Prints the mean regret at the end with its
confidence interval (95 %), and from which part of all resource on a strategy is at least as good as random
search is at the end: HyperBand from a third on at the latest, where ones are counted. With a name the curves
are drawn into that file.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, stdev

from peers import NEPS, OPTUNA, python_with
from regret_digits import make_table
from regret_plot import drawn
from regret_simulation import Curve, Evaluation, all_curves
from regret_tasks import Task, tasks
from stress import LIMITS, verdict

from dahps_core import Ledger, Search, SearchSpace
from dahps_core.model.records import Claim
from dahps_core.strategies.brackets import Brackets

N_POINTS = 100
LARGEST_PART = 1 / 3

#: What the table calls them, and which strategy that is.
OWN = {"DAHPS random": "random", "DAHPS ASHA": "asha", "DAHPS HyperBand": "hyperband"}
#: The same of each peer, with its script, and what that needs installed.
PEERS = (
    ({"Optuna ASHA": "asha", "Optuna Hyperband": "hyperband"}, "regret_optuna.py", OPTUNA),
    ({"NePS ASHA": "asha", "NePS Hyperband": "hyperband"}, "regret_neps.py", NEPS),
)

#: Task -> what the table calls a strategy -> a curve for each seed.
Curves = dict[str, dict[str, list[Curve]]]


class Dahps:
    """A ledger, and one worker of it for each worker."""

    def __init__(self, ledger: Ledger, task: Task) -> None:
        self._ledger, self._task = ledger, task
        self._workers: dict[int, str] = {}

    def draw(self, worker: int) -> Evaluation | None:
        if worker not in self._workers:
            self._workers[worker] = self._ledger.register(run="bench", host="here", pid=worker, job=None)
        claim = self._ledger.claim(self._workers[worker], **LIMITS)
        if not isinstance(claim, Claim):
            return None
        return Evaluation(dict(claim.combination), *self._level_and_cost(claim), claim)

    def end(self, worker: int, evaluation: Evaluation, metric: float) -> None:
        self._ledger.finish_if_held(evaluation.handle, result=metric, metric=metric, output_dir=None)

    def _level_and_cost(self, claim: Claim) -> tuple[int, float]:
        """Random search evaluates all at the highest level."""
        brackets = self._ledger.search.brackets
        if brackets is None:
            return len(self._task.levels) - 1, self._task.levels[-1]
        return claim.level, brackets.cost(brackets.bracket(claim.number), claim.level)


@contextmanager
def dahps(task: Task, strategy: str, seed: int) -> Iterator[Dahps]:
    brackets = Brackets.of(levels=task.levels, brackets=1 if strategy == "asha" else None)
    search = Search(space_of(task), strategy, seed=seed, brackets=None if strategy == "random" else brackets)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # what is compared is not the storage
    with tempfile.TemporaryDirectory(dir=memory) as folder, Ledger.join(folder, search) as ledger:
        yield Dahps(ledger, task)


def space_of(task: Task) -> SearchSpace:
    root = None
    for key, values in reversed(task.values.items()):
        root = {"key": key, "values": values, "default": root}
    return SearchSpace.from_config({"root": root})


def named(names: dict[str, str], found: dict[str, dict[str, list[Curve]]]) -> Curves:
    return {task: {name: curves[key] for name, key in names.items()} for task, curves in found.items()}


def curves_of_all() -> Curves:
    """Without the peers that cannot be installed."""
    parts = [named(OWN, all_curves(dahps, OWN.values()))]
    for names, script, requirements in PEERS:
        if python := python_with(requirements):
            command = [python, Path(__file__).with_name(script)]
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            parts.append(named(names, json.loads(told)))
    return {
        task.name: {name: part[task.name][name] for part in parts for name in part[task.name]}
        for task in tasks()
    }


def resampled(curve: Curve, total: float) -> list[float]:
    """The regret at `N_POINTS` parts of all resource; as long as nothing has ended, that of the first end."""
    found, regret, rest = [], curve[0][1], list(curve)
    for point in range(1, N_POINTS + 1):
        while rest and rest[0][0] <= total * point / N_POINTS:
            regret = rest.pop(0)[1]
        found.append(regret)
    return found


def band(curves: list[list[float]]) -> list[tuple[float, float]]:
    """At each point the mean, and half the width of its confidence interval."""
    half = 1.96 / len(curves) ** 0.5
    return [(mean(at), half * stdev(at)) for at in zip(*curves, strict=True)]


def print_row(task: str, name: str, points: list[tuple[float, float]], aim: float) -> None:
    regret, half = points[-1]
    # An early incumbent may be a good one by luck: what counts is when none comes that is worse.
    worse_until = max((i + 1 for i, (value, _) in enumerate(points) if value > aim), default=0)
    part = "never" if worse_until == N_POINTS else f"{100 * (worse_until + 1) // N_POINTS} %"
    if name == "DAHPS HyperBand" and task.startswith("counting"):
        part += f" {verdict(worse_until < LARGEST_PART * N_POINTS)}"
    print(f"{task:<22}  {name:<18}  {f'{regret:.4f} +- {half:.4f}':>20}  {part:>22}", flush=True)


def main() -> int:
    make_table()
    begun = time.monotonic()
    found = curves_of_all()
    panels = {}
    print(f"{'':<22}  {'':<18}  {'regret at the end':>20}  {'as good as random from':>22}")
    for task in tasks():
        total = task.budget * task.levels[-1]
        bands = {
            name: band([resampled(one, total) for one in curves]) for name, curves in found[task.name].items()
        }
        panels[task.name] = bands
        for name, points in bands.items():
            print_row(task.name, name, points, aim=bands["DAHPS random"][-1][0])
    print(f"{time.monotonic() - begun:.0f} s for all simulations")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(drawn(panels, "part of all resource", "regret"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
