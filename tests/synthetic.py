"""Ledgers as searches leave them, though nobody trained: the metrics are made up from the values."""

import math
import random
import time
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import yaml

from dahps_core import Ledger, Search, SearchSpace
from dahps_core.model.records import Claim, Ending, Report

SEEDS = Path(__file__).resolve().parents[1] / "example_app" / "conf" / "search" / "seeds.yaml"
LIMITS = {"max_trials": None, "max_attempts": 2, "stop_after_failures": None}

#: What each value adds to the loss.
EFFECTS = {
    "baseline": 0.4,
    "fourier": 0.1,
    "deit": 0.2,
    0.0001: 0.15,
    512: 0.1,
    "inat2021": 0.5,
    "cifar10": -0.3,
}


def seeds_space():
    """The space of the larger study."""
    return SearchSpace.from_config(yaml.safe_load(SEEDS.read_text()))


def loss_of(combination, luck):
    """A loss that some levels matter to, and luck a little."""
    effects = sum(
        EFFECTS.get(value, 0) for value in combination.values() if not isinstance(value, (list, dict))
    )
    return max(0.05, 1 + effects + luck.gauss(0, 0.15))


class Wall:
    """A clock on the wall that a search of hours is written by in seconds."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


def fill(folder, search, n_trials, *, n_workers=16, minutes=20.0, seed=0, reports=3):
    """Let workers evaluate so many trials: most finish, some fail, are interrupted, or have no finite metric.

    At the end some are running.
    """
    luck = random.Random(seed)
    wall = Wall(time.time() - 60 * minutes * 1.3 * n_trials / n_workers)  # to end about now
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger.join(folder, search))
        stack.enter_context(mock.patch("time.time", wall))
        workers = [
            ledger.register("run", host=f"node{1 + n // 4}", pid=1000 + n, job=f"77_{n}")
            for n in range(n_workers)
        ]
        free = {worker: wall.now + luck.random() * 60 for worker in workers}
        endings = dict.fromkeys(workers)
        for _ in range(n_trials):
            worker = min(free, key=free.get)
            wall.now = free[worker]
            claim = ledger.claim(worker, **LIMITS, after=endings[worker])
            if not isinstance(claim, Claim):
                break
            endings[worker] = ending_of(claim, luck, reports)
            free[worker] = wall.now + luck.lognormvariate(0, 0.7) * minutes * 60
        for worker in sorted(filter(endings.get, free), key=free.get)[: n_workers // 2]:
            wall.now = free[worker]
            ledger.end_if_held(endings[worker])


def ending_of(claim, luck, n_reports=3):
    """How an attempt ends, by luck."""
    fate = luck.random()
    told = (claim.number, claim.attempt, claim.token)
    where = {"output_dir": f"multirun/2026-11-28/{claim.number}"}
    if fate < 0.04:
        return Ending(*told, "failed", error="Traceback ...\nRuntimeError: CUDA out of memory <b>!", **where)
    if fate < 0.07:
        return Ending(*told, "released", error="preempted", **where)
    if fate < 0.08:
        return Ending(*told, "died", error="Segmentation fault", **where)
    metric = math.nan if fate < 0.09 else math.inf if fate < 0.1 else loss_of(claim.combination, luck)
    reports = tuple(Report(step, metric + 1 / (1 + step)) for step in range(n_reports))
    return Ending(*told, "finished", result=metric, metric=metric, reports=reports, **where)


HOSTILE = (
    "<script>alert(1)</script>",
    "</script><b>bold</b>",
    "<b>bold</b>",
    "&lt;",
    'a "quote" größer 猫',
    "a\nb\x1b[31m",
)


def hostile_search(**options):
    """A search whose values would do something where they are not kept as text."""
    odd = {"key": "y", "values": [[1, "<i>"], {"<u>": None}, 1, True, 1.0, None], "default": None}
    root = {"key": "x", "values": HOSTILE, "default": odd, HOSTILE[0]: None}
    return Search(SearchSpace.from_config({"root": root}), strategy="grid", seed=0, **options)


def search_of(space, **options):
    """A random search of it."""
    return Search(space, seed=1, **options)
