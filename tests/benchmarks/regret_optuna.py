"""The same simulation as `regret.py` with Optuna's pruners, in an environment of its own; prints JSON.

Optuna stops trials and never resumes them: one that is not stopped goes on to its next level at once.
Arguments: how many seeds, workers, and evaluations at the highest level in all.
"""

import heapq
import json
import random
import sys

import optuna
from regret_tasks import Incumbent, Task, tasks


def pruner_of(strategy: str, task: Task) -> optuna.pruners.BasePruner:
    least, most = task.levels[0], task.levels[-1]
    if strategy == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=least, reduction_factor=3)
    return optuna.pruners.HyperbandPruner(min_resource=least, max_resource=most, reduction_factor=3)


def curve_of(task: Task, strategy: str, seed: int, n_workers: int, budget: int) -> list[tuple[float, float]]:
    study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(seed=seed), pruner=pruner_of(strategy, task)
    )
    chance, incumbent = random.Random(seed), Incumbent(task)
    used, count, running = 0.0, 0, []

    def begin(now: float, trial: optuna.Trial, level: int) -> None:
        nonlocal count
        count += 1
        cost = task.levels[level] - (task.levels[level - 1] if level else 0)
        heapq.heappush(running, (now + cost, count, cost, trial, level))

    def new(now: float) -> None:
        trial = study.ask()
        for key, values in task.values.items():
            trial.suggest_categorical(key, values)
        begin(now, trial, 0)

    for _ in range(n_workers):
        new(0.0)
    while used < budget * task.levels[-1]:
        now, _, cost, trial, level = heapq.heappop(running)
        used += cost
        metric = task.observed(trial.params, task.levels[level], chance)
        incumbent.take(used, level, metric, trial.params)
        trial.report(metric, task.levels[level])
        if level == len(task.levels) - 1:
            study.tell(trial, metric)
            new(now)
        elif trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            new(now)
        else:
            begin(now, trial, level + 1)
    return incumbent.curve


def main() -> int:
    n_seeds, n_workers, budget = map(int, sys.argv[1:])
    optuna.logging.disable_default_handler()
    found = {
        task.name: {
            strategy: [curve_of(task, strategy, seed, n_workers, budget) for seed in range(n_seeds)]
            for strategy in ("asha", "hyperband")
        }
        for task in tasks()
    }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
