"""Reading a ledger; see `Ledger`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from dahps_core.ledger.claiming.bound_space import BoundSpace
from dahps_core.ledger.folder import control_stamp
from dahps_core.ledger.folder.ledger_folder import FILE_NAME
from dahps_core.ledger.folder.run_commands import configs_of
from dahps_core.ledger.folder.run_limits import RunLimits
from dahps_core.ledger.notebook import shown_in_notebook
from dahps_core.ledger.progress import ProgressReader
from dahps_core.ledger.sqlite.database import Database, Parameter
from dahps_core.ledger.views import listing, ranking, repetitions, spaces, status, survey, trial_rows
from dahps_core.ledger.views.export import TrialTable
from dahps_core.model.combination import Value
from dahps_core.model.records import Claim, TrialRecord, TrialState
from dahps_core.space import SearchSpace
from dahps_core.strategies.search import Search

if TYPE_CHECKING:
    import pandas as pd


class LedgerReader:
    """The part of a ledger that writes nothing; each answer is one consistent view."""

    def __init__(self, folder: Path, database: Database, search: Search, bound: BoundSpace) -> None:
        self.folder = folder
        self.search = search
        self._database = database
        self._bound = bound
        self._notice: int | None = None

    @property
    def space(self) -> SearchSpace:
        """What new trials are drawn from."""
        return self._bound.space

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()

    def identity(self) -> str:
        """Return what no other ledger has, and this one keeps when it is moved, upgraded or rebuilt."""
        row = self._database.read(lambda transaction: transaction.row("identity"))
        return sha256(repr(tuple(row or ())).encode()).hexdigest()[:16]

    def checkpoint_dir(self, number: int) -> Path:
        """Return the folder of a trial's checkpoints, the same for all its attempts; it may not exist yet."""
        return self.folder / "checkpoints" / str(number)

    def is_reachable(self) -> bool:
        """Return whether the storage shows the database now: where it does not, every other method waits."""
        try:
            return (self.folder / FILE_NAME).exists()
        except OSError:
            return False

    def is_held(self, claim: Claim) -> bool:
        """Return whether a write under the claim would be accepted now."""
        return bool(self._value("is_held", number=claim.number, token=claim.token))

    def is_to_release(self, worker: str) -> bool:
        """Return whether a person stopped the worker's multirun at once, so that it releases its trial."""
        return bool(self._value("is_to_release", worker=worker))

    def notice(self) -> int | None:
        """Return an opaque stamp, which changes whenever a person pauses, resumes, stops or cancels
        something.

        One open and one fstat; where the storage refuses, the last stamp that was seen.
        """
        with suppress(OSError):
            self._notice = control_stamp.notice(self.folder)
        return self._notice

    def watched_workers(self, max_attempts: int) -> list[str]:
        """Return whose heartbeats a worker that waits observes: holders of open trials, and waiting workers.

        Args:
            max_attempts: As of `claim`: a lost trial without attempts left is not open.
        """
        found = self._database.read(
            lambda transaction: transaction.rows("watched_workers", max_attempts=max_attempts)
        )
        return [row["id"] for row in found]

    def idle_workers(self, workers: Collection[str]) -> dict[str, str]:
        """Return the states of those among some workers that run no trial."""
        among = json.dumps(list(workers))
        found = self._database.read(lambda transaction: transaction.rows("idle_workers", workers=among))
        return {row["id"]: row["state"] for row in found}

    def ended_runs(self, runs: Collection[str]) -> list[str]:
        """Return those among some multiruns that have had workers, all of which have left."""
        among = json.dumps(list(runs))
        found = self._database.read(lambda transaction: transaction.rows("ended_runs", runs=among))
        return [row["run"] for row in found]

    @property
    def n_drawn(self) -> int:
        """How many trials were ever drawn or queued; their numbers are dense from 0."""
        return self._database.read(trial_rows.n_drawn)

    def remaining(
        self,
        max_trials: int | None,
        max_attempts: int,
        max_resource_total: float | None = None,
        only: Mapping[str, Value] | None = None,
    ) -> int:
        """Return how many trials are not over, by the limits of `claim`; 0 when the search has ended.

        Args:
            max_trials: See `claim`, as for the next two.
            max_attempts: See there.
            max_resource_total: See there.
            only: Those of one branch, as `Ledger.join` has it; None: those that this ledger object serves.

        Raises:
            ConfigurationError: The space has no such branch.
        """
        limits = RunLimits(
            max_trials,
            max_attempts,
            max_resource_total=max_resource_total,
            only=None if only is None else dict(only),
        )
        return ProgressReader(self).remaining(limits)

    def counts(self) -> dict[TrialState, int]:
        """Return how many trials are in each state, at one moment."""
        return self._database.read(trial_rows.counts)

    def trials(self, first: int = 0) -> Iterator[TrialRecord]:
        """Yield all trials from a number on, with their last attempts; read by pages, so that no writer
        waits.
        """
        return trial_rows.trials(self._database, first, self.search.brackets)

    def trials_among(self, numbers: Collection[int]) -> list[TrialRecord]:
        """Return the existing ones among some trials, by number: few enough for one short read."""
        return trial_rows.trials_among(self._database, numbers, self.search.brackets)

    def marks(self, first: int = 0) -> Iterator[tuple[int, int, str]]:
        """Yield (number, attempts, state) of all trials from a number on, by number.

        What `trials` returns of a trial changes only with its mark.
        """
        return survey.marks(self._database, first)

    def attempts_among(self, numbers: Sequence[int]) -> Iterator[survey.AttemptSpan]:
        """Return all attempts of some trials, by trial and attempt; read by pages."""
        top = self.search.brackets.top if self.search.brackets else 0
        return survey.attempts(self._database, numbers, top)

    def improvements(self) -> list[survey.Improvement]:
        """Return each finite metric that was better than all before it, the earliest first."""
        return survey.improvements(self._database, self.n_drawn, self.search.direction)

    def n_unmeasured(self) -> int:
        """Return how many trials have finished without a finite metric."""
        return self._database.read(survey.n_unmeasured)

    def numbers_in(self, *states: TrialState) -> list[int]:
        """Return the numbers of all trials in some states; not of finished ones."""
        return listing.numbers_in(self._database, states)

    def n_spaces(self) -> int:
        """Return how many spaces are searched."""
        return int(self._value("n_spaces") or 0)

    def to_frame(self) -> pd.DataFrame:
        """Return all trials as a pandas data frame, indexed by number: what is known of each, and a column
        per key.

        A key that does not apply to a trial's branch is missing there (NaN). Times are seconds since the
        epoch.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        return TrialTable(self.spaces(), partial(configs_of, self.folder)).frame(self.trials())

    def _repr_html_(self) -> str:
        return shown_in_notebook(self)

    def finished_by_run(self) -> dict[str, int]:
        """Return how many trials have finished in each multirun; reads every trial once."""
        rows = self._database.read(lambda transaction: transaction.rows("finished_by_run"))
        return {row["run"]: row["n"] for row in rows}

    def history(self, number: int) -> list[tuple[int, int, float]]:
        """Return what a trial's attempts reported: (attempt, step, metric), by attempt and step.

        The last reports of an attempt may arrive later: at its checkpoints, and at its end.
        """
        return self._database.read(lambda transaction: trial_rows.history(transaction, number))

    def histories(self, numbers: Collection[int]) -> dict[int, dict[int, float]]:
        """Map trials to their reports, trial -> step -> metric; later attempts count."""
        return self._database.read(partial(survey.histories, numbers=numbers))

    def last_histories(self, n_trials: int) -> list[dict[int, float]]:
        """Step -> metric, of the last finished trials that reported any."""
        return self._database.read(partial(trial_rows.last_histories, n_trials=n_trials))

    def best(self) -> TrialRecord | None:
        """Return the finished trial with the best metric; NaN and None never win, ties go to the lower
        number.

        Where the strategy has levels, the best one of the highest level where one finished, as it did there:
        it may have failed later. Ties go to the earlier one.

        Otherwise, where the search has repetitions, the best one of the combination with the best mean over
        them, with its `average`. Only combinations count of which all repetitions have a metric.
        """
        return next(iter(self.best_trials(1)), None)

    def best_trials(self, n_best: int, *, incomplete: bool = False) -> list[TrialRecord]:
        """Return the best trials, the best one first, ranked as `best` does.

        Where combinations are judged by their means, one trial for each of the best combinations; with
        `incomplete`, also of those that `left_out` counts, by the mean of the repetitions with a metric.
        """
        if repetitions.is_by_mean(self.search):
            find = partial(repetitions.best_by_mean, incomplete=incomplete)
        else:
            find = partial(ranking.best)
        return self._database.read(partial(find, search=self.search, n_best=n_best))

    def left_out(self) -> repetitions.LeftOut | None:
        """Return which combinations do not rank; None where combinations are not judged by their means.

        Reads every trial once.
        """
        if not repetitions.is_by_mean(self.search):
            return None
        return self._database.read(partial(repetitions.left_out, search=self.search))

    def listed(self, choice: listing.Choice, *, best_first: bool = False) -> Iterator[TrialRecord]:
        """Return the chosen trials, by number, or those that rank by metric, the best one first.

        Here each repetition counts by itself. Read by pages, so that no writer waits.
        """
        find = listing.best_first if best_first else listing.by_number
        return find(self._database, self.search, choice)

    def rungs(self) -> list[trial_rows.RungRecord]:
        """Return the strategy's rungs, from the lowest on; none if it has none."""
        brackets = self.search.brackets
        return self._database.read(partial(trial_rows.rungs, brackets=brackets)) if brackets else []

    def finished_beyond_best(
        self, numbers: Collection[int], n_best: int, max_attempts: int | None = None
    ) -> list[int]:
        """Return those among some trials that are finished finally, and cannot be among the `n_best` best.

        Where `best` goes by the mean of repetitions, the best combinations count. Of one with a failed
        repetition that may run again, as `max_attempts` says (None: always), no trial is among these.
        """
        if repetitions.is_by_mean(self.search) and n_best > 0:
            find = partial(repetitions.finished_beyond_best_means, max_attempts=max_attempts)
        else:
            find = partial(ranking.finished_beyond_best)
        return self._database.read(partial(find, search=self.search, numbers=numbers, n_best=n_best))

    def workers(self, run: str) -> list[trial_rows.WorkerRecord]:
        """Return the workers of a multirun, in the order of registration."""
        return self._database.read(lambda transaction: trial_rows.workers(transaction, run))

    def present_workers(self) -> list[status.PresentWorker]:
        """Return the workers that run or wait, as far as recorded, in the order of registration."""
        return self._database.read(status.present_workers)

    def last_ends(self) -> list[status.End]:
        """Return how the last few hundred trials ended, the latest first."""
        return self._database.read(status.last_ends)

    def attempts(self, number: int) -> list[status.AttemptRecord]:
        """Return all executions of a trial, the first one first; none if it has not run, or does
        not exist.
        """
        return self._database.read(partial(status.attempts, number=number))

    def spaces(self) -> list[SearchSpace]:
        """Return all spaces ever searched in this ledger, oldest first."""
        return self._database.read(spaces.spaces)

    def last_worker_of_batch(self, batch: str | None) -> trial_rows.WorkerRecord | None:
        """Return the last worker registered under this name of a batch job, if there is one."""
        return self._database.read(lambda transaction: trial_rows.last_worker_of_batch(transaction, batch))

    def worker_counts(self) -> dict[str, int]:
        """Return how many workers are in each state: working, waiting, left."""
        return self._database.read(trial_rows.worker_counts)

    def is_paused(self) -> bool:
        """Return whether the search is paused."""
        return bool(self._value("is_paused"))

    def run_folders(self) -> list[Path]:
        """Return the output folders of the ledger's multiruns, as far as known."""
        found = self._database.read(lambda transaction: transaction.rows("run_folders"))
        return [Path(row["folder"]) for row in found]

    def run(self, run: str) -> trial_rows.RunRecord:
        """Return the progress of a multirun."""
        return self._database.read(lambda transaction: trial_rows.run(transaction, run))

    def _value(self, query: str, **parameters: Parameter) -> Parameter:
        return self._database.read(lambda transaction: transaction.value(query, **parameters))
