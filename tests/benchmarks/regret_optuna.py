"""The same simulation as `regret.py` with Optuna's pruners, in an environment of its own; prints JSON.

Optuna stops trials and never resumes them: one that is not stopped goes on to its next level at once.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from regret_simulation import Evaluation, all_curves
from regret_tasks import Task


class Study:
    """A study in memory, with the random sampler."""

    def __init__(self, task: Task, strategy: str, seed: int) -> None:
        self._task = task
        sampler = optuna.samplers.RandomSampler(seed=seed)
        # The pruner draws brackets by the name, which is another one each time unless it is given.
        self._study = optuna.create_study(
            study_name=f"{task.name} {seed}", sampler=sampler, pruner=pruner_of(strategy, task)
        )
        self._going_on: dict[int, tuple[optuna.Trial, int]] = {}

    def draw(self, worker: int) -> Evaluation:
        trial, level = self._going_on.pop(worker, None) or (self._new(), 0)
        cost = self._task.levels[level] - (self._task.levels[level - 1] if level else 0)
        return Evaluation(trial.params, level, cost, trial)

    def end(self, worker: int, evaluation: Evaluation, metric: float) -> None:
        _, level, _, trial = evaluation
        trial.report(metric, self._task.levels[level])
        if level == len(self._task.levels) - 1:
            self._study.tell(trial, metric)
        elif trial.should_prune():
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            self._going_on[worker] = trial, level + 1

    def _new(self) -> optuna.Trial:
        trial = self._study.ask()
        for key, values in self._task.values.items():
            trial.suggest_categorical(key, values)
        return trial


def pruner_of(strategy: str, task: Task) -> optuna.pruners.BasePruner:
    least, most = task.levels[0], task.levels[-1]
    if strategy == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=least, reduction_factor=3)
    return optuna.pruners.HyperbandPruner(min_resource=least, max_resource=most, reduction_factor=3)


@contextmanager
def study_of(task: Task, strategy: str, seed: int) -> Iterator[Study]:
    yield Study(task, strategy, seed)


def main() -> int:
    optuna.logging.disable_default_handler()
    print(json.dumps(all_curves(study_of, ("asha", "hyperband"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
