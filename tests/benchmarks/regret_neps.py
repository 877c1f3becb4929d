"""The same simulation as `regret.py` with NePS, in an environment of its own; prints JSON.

Two things go another way there than in the papers, and `python regret_neps.py promotions` shows them: those
that were promoted are taken out before it is counted how many may be, so that all of a rung are but two; and
those that still run are counted and promoted as well. What such a trial costs is counted as if it went on
from where it is not yet.
"""

import json
import logging
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import neps
import numpy
import torch
from regret_simulation import Evaluation, all_curves
from regret_tasks import Task, counting_ones

STRATEGIES = {"asha": neps.algorithms.asha, "hyperband": neps.algorithms.async_hb}


class Asked:
    """NePS's ask and tell."""

    def __init__(self, task: Task, strategy: str) -> None:
        self._task = task
        parts = {key: neps.Categorical(tuple(values)) for key, values in task.values.items()}
        parts["resource"] = neps.IntegerFidelity(task.levels[0], task.levels[-1])
        space = type("Space", (neps.PipelineSpace,), parts)()
        self._search = neps.AskAndTell(STRATEGIES[strategy](space, eta=3))

    def draw(self, worker: int) -> Evaluation:
        trial = self._search.ask()
        level = self._task.levels.index(trial.config["resource"])
        goes_on = trial.metadata.previous_trial_id is not None
        cost = self._task.levels[level] - (self._task.levels[level - 1] if goes_on else 0)
        return Evaluation({key: trial.config[key] for key in self._task.values}, level, cost, trial)

    def end(self, worker: int, evaluation: Evaluation, metric: float) -> None:
        self._search.tell(evaluation.handle, metric)


@contextmanager
def asked(task: Task, strategy: str, seed: int) -> Iterator[Asked]:
    for set_seed in (random.seed, numpy.random.seed, torch.manual_seed):
        set_seed(seed)
    yield Asked(task, strategy)


def print_promotions() -> None:
    """What `asha` hands out at eta = 3."""
    task = counting_ones(4)
    search = Asked(task, "asha")
    began = [search.draw(0) for _ in range(9)]
    ids = ", ".join(evaluation.handle.id for evaluation in began)
    print(f"to nine workers, of whom none has ended: {ids}")
    search = Asked(task, "asha")
    n_begun: Counter[int] = Counter()
    while n_begun[0] < 10:  # the tenth begins when nobody else is promoted
        evaluation = search.draw(0)
        n_begun[evaluation.level] += 1
        search.end(0, evaluation, float(n_begun[0]))
    print(f"of nine that have ended at the lowest level, one after the other: {n_begun[1]}, where 3 are due")


def main() -> int:
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    if sys.argv[1:] == ["promotions"]:
        print_promotions()
    else:
        print(json.dumps(all_curves(asked, STRATEGIES)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
