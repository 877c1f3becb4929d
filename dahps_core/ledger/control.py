"""A person's commands to a running search: pause, stop, cancel, retry, enqueue."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from dahps_core.errors import ConfigurationError
from dahps_core.ledger.folder.control_stamp import give_notice
from dahps_core.ledger.folder.ledger_folder import FILE_NAME
from dahps_core.ledger.reader import LedgerReader
from dahps_core.ledger.sqlite.database import Transaction
from dahps_core.ledger.sqlite.storage_errors import refusal
from dahps_core.model.combination import Combination, Value
from dahps_core.model.records import TrialState
from dahps_core.space import SearchSpace

#: Number of trials queued at a time, so that no worker waits for long.
MOST_AT_ONCE = 10_000

#: By the states in which it cannot be done; None: there is no such trial.
_NOT_TO_CANCEL: dict[str | None, str] = {
    None: "was never drawn",
    "finished": "is finished; finished trials cannot be changed",
}
_NOT_TO_RETRY = {
    **_NOT_TO_CANCEL,
    "running": "is running",
    "released": "is released; it is next in the queue already",
}

T = TypeVar("T")


@dataclass(frozen=True)
class Enqueued:
    """A trial that a person queued.

    Attributes:
        state: Its state: queued, or another one if it was drawn before.
    """

    number: int
    combination: Combination
    repetition: int
    state: TrialState


class LedgerSteering(LedgerReader):
    """The part of a ledger that is for a person; see `Ledger`.

    Each method may be repeated, and is one transaction; those that concern running workers also notify
    them.
    """

    def pause(self) -> None:
        """Pause the search: running trials finish, and no new ones start until `resume`."""
        self._say("pause", now=time.time())

    def resume(self) -> None:
        """Let workers claim trials again."""
        self._say("resume")

    def stop(self, *, run: str | None = None, now: bool = False) -> None:
        """Stop the multiruns: each worker finishes its current trial and exits, also those that start later.

        Args:
            run: The multirun; None: all that were entered so far. A later one is not stopped.
            now: Running trials are released, and not waited for.

        Raises:
            ConfigurationError: There is no such multirun.
        """
        if not self._say("stop_runs", run=run, is_to_release=int(now)) and run is not None:
            raise ConfigurationError("there is no such multirun", where=run)

    def cancel(self, *numbers: int) -> list[TrialState]:
        """Cancel these trials: running ones are stopped, others never run. All or none.

        Returns:
            Where each of them stood.

        Raises:
            ConfigurationError: One has finished, or was never drawn.
        """
        states = self._write(lambda writing: _change(writing, "cancel_trial", numbers, _NOT_TO_CANCEL))
        give_notice(self.folder)
        return states

    def retry(self, *numbers: int) -> list[TrialState]:
        """Rerun these trials next, and forget their failures. All or none.

        Returns:
            Where each of them stood.

        Raises:
            ConfigurationError: One runs, or will run anyhow, or has finished, or was never drawn.
        """
        return self._write(lambda writing: _change(writing, "queue_trial", numbers, _NOT_TO_RETRY))

    def retry_failed(self) -> list[int]:
        """Rerun all failed and lost trials as `retry` does; return their numbers."""

        def retry_all(transaction: Transaction) -> list[int]:
            numbers = [int(row["number"]) for row in transaction.rows("failed_trials")]
            _change(transaction, "queue_trial", numbers, _NOT_TO_RETRY)
            return numbers

        return self._write(retry_all)

    def enqueue(self, combinations: Iterable[Mapping[str, Value]]) -> list[Enqueued]:
        """Queue these combinations next, in all their repetitions; what was drawn before is not run twice.

        Args:
            combinations: Whole ones, of the space that this ledger object draws from.

        Returns:
            Their trials, new ones and old ones.

        Raises:
            ConfigurationError: The space has no such combination, or they are too many.
        """
        found = [_in_space(self.space, one) for one in islice(combinations, MOST_AT_ONCE + 1)]
        if len(found) * self.space.repetitions > MOST_AT_ONCE:
            raise ConfigurationError(
                f"more than {MOST_AT_ONCE:,} trials at once", where="enqueue", hint="Queue them in parts"
            )
        return self._write(lambda writing: self._enqueued(writing, found))

    def _enqueued(self, transaction: Transaction, combinations: list[Combination]) -> list[Enqueued]:
        before = int(transaction.value("n_drawn") or 0)
        n_drawn = before
        found = []
        for combination in combinations:
            first = combination.occurrence * self.space.repetitions
            for repetition in range(first, first + self.space.repetitions):
                n_drawn += transaction.change(
                    "enqueue_trial",
                    number=n_drawn,
                    space=self._bound.id,
                    combination=combination.to_json(),
                    digest=combination.digest(),
                    repetition=repetition,
                    level=self._bound.first_level(n_drawn),
                )
                found.append(_trial_of(transaction, combination, repetition))
        new = [one for one in found if before <= one.number < n_drawn]
        n_between = sum(not self.space.has(one.combination, one.repetition) for one in new)
        transaction.change("count_enqueued", space=self._bound.id, n=n_drawn - before, n_between=n_between)
        return found

    def _write(self, work: Callable[[Transaction], T]) -> T:
        # Without permission to write, fail at once: the ledger would wait until the storage works again.
        path = self.folder / FILE_NAME
        if not os.access(path, os.W_OK) or not os.access(self.folder, os.W_OK):
            raise refusal(path, "it may not be written")
        return self._database.write(work)

    def _say(self, statement: str, **parameters: str | float | None) -> int:
        n_changed = self._write(lambda writing: writing.change(statement, **parameters))
        give_notice(self.folder)
        return n_changed


def _change(
    transaction: Transaction, edge: str, numbers: Collection[int], refused: Mapping[str | None, str]
) -> list[TrialState]:
    states = [_found_state(transaction, number) for number in numbers]
    faults = [
        f"trial {number} {refused[state]}"
        for number, state in zip(numbers, states, strict=True)
        if state in refused
    ]
    if faults:
        raise ConfigurationError("; ".join(faults), hint="Nothing was changed")
    for number in numbers:
        # Where the edge leads already, as when this is repeated, there is no attempt and nothing to change.
        transaction.change("keep_attempt", number=number, now=time.time())
        transaction.change(edge, number=number)
    return [_state(state) for state in states]


def _found_state(transaction: Transaction, number: int) -> str | None:
    found = transaction.value("state_of_trial", number=number) if 0 <= number < 2**63 else None
    return None if found is None else str(found)


def _trial_of(transaction: Transaction, combination: Combination, repetition: int) -> Enqueued:
    trial = transaction.rows("trial_of_combination", digest=combination.digest(), repetition=repetition)[0]
    return Enqueued(trial["number"], combination, repetition, _state(trial["state"]))


def _state(stored: str | None) -> TrialState:
    return TrialState.LOST if stored == "died" else TrialState(stored)


def _in_space(space: SearchSpace, enqueued: Mapping[str, Value]) -> Combination:
    """Return the space's own combination: its keys are in path order."""
    combination = enqueued if isinstance(enqueued, Combination) else Combination(enqueued.items())
    try:
        return space.matching(combination)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(str(error), where="enqueue", hint="Nothing was queued") from error
