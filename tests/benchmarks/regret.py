"""Regret over the resource that all workers use: HyperBand and ASHA beside random search and Optuna's.

Sixteen workers in simulated time draw from a real ledger; an evaluation takes as long as the resource that
it uses. The incumbent is the best trial of the highest level so far, and its regret is that without noise.
Twenty seeds each. Prints the mean regret at the end with its confidence interval (95 %), and from which part
of all resource on a strategy is at least as good as random search is at the end: HyperBand from a third on at
the latest, where ones are counted. With a name the curves are drawn into that file.
"""

import heapq
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev

from peers import OPTUNA, python_with
from regret_plot import drawn
from regret_tasks import Incumbent, Task, tasks
from stress import LIMITS, verdict

from dahps_core import Ledger, Search, SearchSpace
from dahps_core.strategies.brackets import Brackets
from dahps_core.trial import Claim, Ending

N_WORKERS = 16
N_SEEDS = 20
#: So many evaluations at the highest level could be paid for.
BUDGET = 100
N_POINTS = 100
LARGEST_PART = 1 / 3

OWN = {"DAHPS random": "random", "DAHPS ASHA": "asha", "DAHPS HyperBand": "hyperband"}
OPTUNA_S = {"Optuna ASHA": "asha", "Optuna Hyperband": "hyperband"}

Curve = list[tuple[float, float]]


def space_of(task: Task) -> SearchSpace:
    root = None
    for key, values in reversed(task.values.items()):
        root = {"key": key, "values": values, "default": root}
    return SearchSpace.from_config({"root": root})


def search_of(task: Task, space: SearchSpace, strategy: str, seed: int) -> Search:
    brackets = Brackets.of(levels=task.levels, brackets=1 if strategy == "asha" else None)
    return Search(space, strategy, seed=seed, brackets=None if strategy == "random" else brackets)


def curve_of(task: Task, search: Search, folder: str) -> Curve:
    """One search in simulated time, until the budget is used."""
    total, chance = BUDGET * task.levels[-1], random.Random(search.seed)
    incumbent, used = Incumbent(task), 0.0

    def begin(now: float, worker: str, claim: object) -> None:
        assert isinstance(claim, Claim), claim
        _, cost = level_and_cost(task, search, claim)
        heapq.heappush(running, (now + cost, claim.number, claim.attempt, worker, claim))

    with Ledger.join(folder, search) as ledger:
        running: list[tuple[float, int, int, str, Claim]] = []
        for number in range(N_WORKERS):
            worker = ledger.register(run="bench", host="here", pid=number, job=None)
            begin(0.0, worker, ledger.claim(worker, **LIMITS))
        while used < total:
            now, _, _, worker, claim = heapq.heappop(running)
            level, cost = level_and_cost(task, search, claim)
            used += cost
            metric = task.observed(dict(claim.combination), task.levels[level], chance)
            incumbent.take(used, level, metric, dict(claim.combination))
            ending = Ending(claim.number, claim.attempt, claim.token, "finished", metric, metric)
            begin(now, worker, ledger.claim(worker, **LIMITS, after=ending))
    return incumbent.curve


def level_and_cost(task: Task, search: Search, claim: Claim) -> tuple[int, float]:
    """Random search evaluates all at the highest level."""
    if search.brackets is None:
        return len(task.levels) - 1, task.levels[-1]
    return claim.level, search.brackets.cost(search.brackets.bracket(claim.number), claim.level)


def own_curves(task: Task, strategy: str) -> Iterator[Curve]:
    space = space_of(task)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # what is compared is not the storage
    for seed in range(N_SEEDS):
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            yield curve_of(task, search_of(task, space, strategy, seed), folder)


def peers_curves() -> dict[str, dict[str, list[Curve]]]:
    """Task -> strategy -> curves; nothing where Optuna cannot be installed."""
    python = python_with(OPTUNA)
    if python is None:
        return {}
    command = [python, Path(__file__).with_name("regret_optuna.py"), *map(str, (N_SEEDS, N_WORKERS, BUDGET))]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def resampled(curve: Curve, total: float) -> list[float]:
    """The regret at `N_POINTS` parts of all resource; as long as nothing has ended, that of the first end."""
    found, regret, rest = [], curve[0][1], list(curve)
    for point in range(1, N_POINTS + 1):
        while rest and rest[0][0] <= total * point / N_POINTS:
            regret = rest.pop(0)[1]
        found.append(regret)
    return found


def main() -> int:
    theirs = peers_curves()
    panels = {}
    print(f"{'':<22}  {'':<18}  {'regret at the end':>20}  {'as good as random from':>22}")
    for task in tasks():
        total = BUDGET * task.levels[-1]
        curves = {name: list(own_curves(task, strategy)) for name, strategy in OWN.items()}
        curves |= {name: theirs[task.name][key] for name, key in OPTUNA_S.items() if task.name in theirs}
        bands = {name: band([resampled(one, total) for one in found]) for name, found in curves.items()}
        panels[task.name] = bands
        aim = bands["DAHPS random"][-1][0]
        for name, points in bands.items():
            print_row(task.name, name, points, aim)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(drawn(panels, "part of all resource", "regret"))
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
