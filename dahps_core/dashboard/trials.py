"""The trials of a ledger as Optuna's, kept up to date by reading what has changed."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from dahps_core.errors import OverrideError, from_extra
from dahps_core.ledger import Ledger
from dahps_core.ledger.sqlite.storage_errors import damaged
from dahps_core.model.combination import Value, canonical
from dahps_core.model.records import TrialRecord, TrialState
from dahps_core.space.interval import Interval
from dahps_core.space.interval_words import is_number
from dahps_core.space.listed import Listed
from dahps_core.space.overrides import shown_value, to_overrides

with from_extra("dashboard"):
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )
    from optuna.trial import FrozenTrial
    from optuna.trial import TrialState as OptunaState

_STATES = {
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.FINISHED: OptunaState.COMPLETE,
    TrialState.FAILED: OptunaState.FAIL,
    TrialState.CANCELLED: OptunaState.FAIL,
    TrialState.RELEASED: OptunaState.WAITING,
    TrialState.QUEUED: OptunaState.WAITING,
    TrialState.LOST: OptunaState.WAITING,
}

#: So that no reader keeps writers waiting for long.
_TRIALS_PER_READ = 500


class Trials:
    """All trials of a ledger, for several threads.

    What is known of a trial is kept until its mark in the ledger changes; what runs is read each time, as it
    reports.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._trials: list[FrozenTrial] = []
        self._marks: list[tuple[int, str]] = []
        self._n_spaces = 0
        self._choices: dict[str, Choices] = {}

    def now(self) -> list[FrozenTrial]:
        """Return the trials by number, as the ledger has them now. Do not change them."""
        with self._lock:
            marks = [(attempts, state) for _, attempts, state in self._ledger.marks()]
            self._note_new_spaces()  # after the marks: a space is older than its trials
            trials = list(self._trials)
            for trial in self._read(self._changed(marks)):
                trials[trial.number : trial.number + 1] = [trial]
            self._trials, self._marks = trials, marks  # both or, where the ledger is gone meanwhile, neither
            return list(trials)

    def _note_new_spaces(self) -> None:
        # Optuna compares trials only by keys whose choices are the same in all: a new space rebuilds all.
        n_spaces = self._ledger.n_spaces()
        if n_spaces != self._n_spaces:
            self._choices = choices_of(self._ledger)
            self._trials, self._marks, self._n_spaces = [], [], n_spaces

    def _changed(self, marks: Sequence[tuple[int, str]]) -> Iterator[int]:
        for number, mark in enumerate(marks):
            if mark[1] == TrialState.RUNNING.value or self._marks[number : number + 1] != [mark]:
                yield number

    def _read(self, numbers: Iterator[int]) -> Iterator[FrozenTrial]:
        while some := list(islice(numbers, _TRIALS_PER_READ)):
            told = self._ledger.histories(some)
            for record in self._ledger.trials_among(some):
                yield self._frozen(record, told.get(record.number, {}))

    def _frozen(self, record: TrialRecord, told: Mapping[int, float]) -> FrozenTrial:
        state = _STATES[record.state]
        if state is OptunaState.COMPLETE and (record.metric is None or math.isnan(record.metric)):
            state = OptunaState.FAIL
        if foreign := record.combination.keys() - self._choices.keys():
            raise damaged(f"trial {record.number}: no space has the key {min(foreign)!r}")
        choices = {key: self._choices[key] for key in record.combination}
        return FrozenTrial(
            number=record.number,
            trial_id=record.number,
            state=state,
            value=record.metric if state is OptunaState.COMPLETE else None,
            datetime_start=_moment(record.started_at),
            datetime_complete=_moment(record.ended_at) if state.is_finished() else None,
            params={key: choices[key].of(value) for key, value in record.combination.items()},
            distributions={key: one.distribution for key, one in choices.items()},
            user_attrs=_attributes(record),
            system_attrs={},
            intermediate_values=dict(told),
        )


class Choices:
    """What a key can be, as Optuna can carry it: all by their texts, if there are some that it cannot.

    Optuna has no lists and mappings, and takes 1, 1.0 and true for one.
    """

    distribution: BaseDistribution

    def __init__(self, values: Iterable[Value], intervals: Sequence[Interval] = ()) -> None:
        values = list(values)
        self._is_plain = bool(intervals) and all(map(is_number, values))
        if self._is_plain:
            self.distribution = _numeric(values, intervals)
            return
        values += [value for interval in intervals for value in interval]
        distinct = {canonical(value): value for value in values}
        plain = [value for value in distinct.values() if not isinstance(value, list | dict)]
        self._is_plain = len(set(plain)) == len(distinct)
        self.distribution = CategoricalDistribution([self.of(value) for value in distinct.values()])

    def of(self, value: Value) -> Any:
        """Return how a value is represented."""
        return value if self._is_plain else shown_value(value)


def choices_of(ledger: Ledger) -> dict[str, Choices]:
    """Return the possible values of each key, in all spaces of the ledger."""
    values: dict[str, list[Value]] = {}
    intervals: dict[str, list[Interval]] = {}
    for space in ledger.spaces():
        for _, key, found in space.levels():
            if isinstance(found, Listed):
                values.setdefault(key, [])
                intervals.setdefault(key, []).append(found.interval)
            else:
                values.setdefault(key, []).extend(found)
    return {key: Choices(found, intervals.get(key, ())) for key, found in values.items()}


def _numeric(values: Sequence[Any], intervals: Sequence[Interval]) -> BaseDistribution:
    low = min([*values, *(one.low for one in intervals)])
    high = max([*values, *(one.high for one in intervals)])
    is_log = low > 0 and any(one.log for one in intervals)
    is_integer = all(type(value) is int for value in values) and all(one.is_integer for one in intervals)
    kind = IntDistribution if is_integer else FloatDistribution
    return kind(low, high, log=is_log)


def _attributes(record: TrialRecord) -> dict[str, Any]:
    try:
        overrides = to_overrides(record.combination)
    except OverrideError:
        overrides = []
    told = {
        "state": record.state.value,
        "overrides": overrides,
        "repetition": record.repetition,
        "attempts": record.attempts,
        "level": record.level,
        "resource": record.resource,
        "worker": record.worker,
        "output_dir": record.output_dir,
        "error": record.error,
        "metric": None if record.metric is None or math.isfinite(record.metric) else str(record.metric),
    }
    return {name: value for name, value in told.items() if value is not None}


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds)
