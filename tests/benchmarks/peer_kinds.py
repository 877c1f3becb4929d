"""The peers that `peer_stress.py` lets draw from one grid, each as its own docs have many processes use it.

A peer has the modules to import, `prepare` to be called once, and `work` to be called by each worker: it
evaluates trials until there are none.
"""

import os
import pickle
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

#: The grid: 8,000 combinations, more than the fastest draws in the time.
VALUES = list(range(20))
KEYS = ("x", "y", "z")

LARGEST_N_STARTS = 20

#: Gets a combination, returns the empty trial's result.
Evaluate = Callable[[dict[str, int]], float]


class Dahps:
    """A ledger; random order without replacement, the default."""

    modules = ("dahps_core",)

    def prepare(self, folder: Path) -> None:
        self._join(folder).close()

    def work(self, folder: Path, evaluate: Evaluate) -> None:
        from dahps_core.model.records import Claim, Ending

        ledger = self._join(folder)
        worker = ledger.register(run="bench", host="here", pid=os.getpid(), job=None)
        limits = {"max_trials": None, "max_attempts": 3, "stop_after_failures": 5}
        claim = ledger.claim(worker, **limits)
        while isinstance(claim, Claim):
            loss = evaluate(dict(claim.combination))
            ending = Ending(claim.number, claim.attempt, claim.token, "finished", loss, loss)
            claim = ledger.claim(worker, **limits, after=ending)

    def _join(self, folder: Path):
        from dahps_core import Ledger, Search, SearchSpace

        root = None
        for key in reversed(KEYS):
            root = {"key": key, "values": VALUES, "default": root}
        return Ledger.join(folder, Search(SearchSpace.from_config({"root": root})))


class Optuna:
    """A study in a shared storage.

    The grid sampler, with the same seed in every process as its docs ask, draws without replacement.
    """

    modules = (
        "optuna",
        "optuna.storages.journal",
        "optuna.storages._rdb.storage",
        "sqlalchemy.dialects.sqlite",
    )

    def prepare(self, folder: Path) -> None:
        import optuna

        optuna.create_study(study_name="bench", storage=self.storage(folder))

    def work(self, folder: Path, evaluate: Evaluate) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.load_study(study_name="bench", storage=self.storage(folder), sampler=self.sampler())
        study.optimize(lambda trial: evaluate({key: trial.suggest_categorical(key, VALUES) for key in KEYS}))

    def sampler(self):
        import optuna

        return optuna.samplers.GridSampler(dict.fromkeys(KEYS, VALUES), seed=0)

    def storage(self, folder: Path):
        raise NotImplementedError


class OptunaJournal(Optuna):
    """Its storage for shared file systems."""

    def storage(self, folder: Path):
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        return JournalStorage(JournalFileBackend(str(folder / "journal.log")))


class OptunaJournalRandom(OptunaJournal):
    """The sampler that asks the storage for nothing, but draws with replacement."""

    def sampler(self):
        import optuna

        return optuna.samplers.RandomSampler()


class OptunaSqlite(Optuna):
    """Its storage in a SQLite file."""

    def storage(self, folder: Path):
        from optuna.storages import RDBStorage

        # Its docs' example; by default "database is locked" ends a worker after 5 s.
        patience = {"connect_args": {"timeout": 10}}
        return RDBStorage(f"sqlite:///{folder / 'study.db'}", engine_kwargs=patience)


class Neps:
    """Several `neps.run` on one folder; the grid search, which draws without replacement."""

    modules = ("neps",)

    def prepare(self, folder: Path) -> None:
        """Whoever runs first makes the folder."""

    def work(self, folder: Path, evaluate: Evaluate) -> None:
        # A start reads a file that another one may be writing, and fails: so it is tried again.
        for _ in range(LARGEST_N_STARTS):
            with suppress(EOFError, pickle.UnpicklingError):
                return self._run(folder, evaluate)
            time.sleep(random.random())
        return None

    def _run(self, folder: Path, evaluate: Evaluate) -> None:
        import logging

        import neps

        logging.disable(logging.WARNING)

        class Space(neps.PipelineSpace):
            x = neps.Categorical(tuple(VALUES))
            y = neps.Categorical(tuple(VALUES))
            z = neps.Categorical(tuple(VALUES))

        neps.run(
            lambda **combination: evaluate(combination),
            Space(),
            root_directory=folder / "neps",
            optimizer="grid_search",
            total_evaluations_to_spend=len(VALUES) ** len(KEYS),
        )


PEERS = {
    "dahps": Dahps,
    "optuna-journal": OptunaJournal,
    "optuna-journal-random": OptunaJournalRandom,
    "optuna-sqlite": OptunaSqlite,
    "neps": Neps,
}
