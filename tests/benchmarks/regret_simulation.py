"""Workers in simulated time: an evaluation takes as long as the resource that it uses.

Nothing here needs more than Python itself, so that other programs' environments can run it as well.
"""

import heapq
import math
import random
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from itertools import count
from multiprocessing import get_context
from typing import Any, NamedTuple, Protocol

from regret_tasks import Config, Task, tasks

N_WORKERS = 16
N_SEEDS = 20

#: (resource used by all workers, regret of the incumbent), whenever another one becomes the best.
Curve = list[tuple[float, float]]


class Evaluation(NamedTuple):
    """A config at a level, what that costs, and what the strategy knows it by."""

    config: Config
    level: int
    cost: float
    handle: Any


class Strategy(Protocol):
    """A search of one task."""

    def draw(self, worker: int) -> Evaluation | None:
        """What a worker evaluates next; None: it has to wait until another one has ended."""

    def end(self, worker: int, evaluation: Evaluation, metric: float) -> None:
        """An evaluation has ended."""


#: How a search is made: (task, which strategy, seed).
Make = Callable[[Task, str, int], AbstractContextManager[Strategy]]


def all_curves(make: Make, names: Iterable[str]) -> dict[str, dict[str, list[Curve]]]:
    """Task -> strategy -> a curve for each seed; as many at once as there are cores."""
    names = list(names)
    jobs = [
        (make, task, name, seed) for task in range(len(tasks())) for name in names for seed in range(N_SEEDS)
    ]
    with get_context("fork").Pool() as pool:
        curves = iter(pool.starmap(_curve, jobs, chunksize=1))
    return {task.name: {name: [next(curves) for _ in range(N_SEEDS)] for name in names} for task in tasks()}


def _curve(make: Make, number: int, name: str, seed: int) -> Curve:
    task = tasks()[number]  # a task cannot be sent from process to process
    with make(task, name, seed) as strategy:
        return simulated(task, strategy, seed)


def simulated(task: Task, strategy: Strategy, seed: int) -> Curve:
    """One search, until the budget is used or there is nothing left.

    The incumbent is the best config of the highest level that was seen so far.
    """
    chance, order, used = random.Random(seed), count(), 0.0
    curve: Curve = []
    best = (-1, math.inf)
    idle = list(range(N_WORKERS))
    running: list[tuple[float, int, int, Evaluation]] = []

    def serve(now: float) -> None:
        while idle and (evaluation := strategy.draw(idle[0])):
            heapq.heappush(running, (now + evaluation.cost, next(order), idle.pop(0), evaluation))

    serve(0.0)
    while running and used < task.budget * task.levels[-1]:
        now, _, worker, evaluation = heapq.heappop(running)
        config, level, cost, _ = evaluation
        used += cost
        metric = task.observed(config, task.levels[level], chance)
        if level > best[0] or (level == best[0] and metric < best[1]):
            best = (level, metric)
            curve.append((used, task.regret(config)))
        strategy.end(worker, evaluation, metric)
        idle.insert(0, worker)
        serve(now)
    return curve
