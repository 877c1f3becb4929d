"""The words of a search: the states of a trial, a claim, the answers to a worker's request.

A leaf of the import order: independent of storage and strategies.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from dahps_core.model.combination import Combination, Value


class TrialState(str, Enum):
    """The state of a trial. `lost`, `failed`, `released` and `queued` trials are run again."""

    RUNNING = "running"  #: claimed, and being evaluated
    FINISHED = "finished"  #: has its final result, except for a promotion to the next rung
    FAILED = "failed"  #: its last attempt raised; run again while attempts are left
    RELEASED = "released"  #: given back by its worker (preempted, interrupted); first in the queue
    QUEUED = "queued"  #: enqueued by a person; next in line
    LOST = "lost"  #: its worker died; run again while attempts are left
    CANCELLED = "cancelled"  #: by a person; never run, unless a person retries it


#: What a person can have run again.
MAY_BE_RETRIED = frozenset({TrialState.FAILED, TrialState.LOST, TrialState.CANCELLED})


class Draw(Enum):
    """Why a worker's request for a trial is refused."""

    WAIT = "wait"  #: nothing now, but a running trial may have to be rerun: request again
    LEAVE = "leave"  #: nothing now, and enough idle workers already wait for what may come back
    EXHAUSTED = "exhausted"  #: nothing now, and nothing can come any more
    PAUSED = "paused"  #: a person paused the search: request again
    STOPPED = "stopped"  #: a person ended this multirun's workers
    TIME_UP = "max_time is over"  #: of this multirun; what runs is finished
    FAILING = "failing"  #: the first trials of this multirun all failed
    OUT_OF_TIME = "out of time"  #: no trial can end before the worker's job does
    RETIRED = "retired"  #: trials fail here that do not fail elsewhere


@dataclass(frozen=True)
class Claim:
    """The right to run one attempt of one trial.

    Attributes:
        number: The trial's number, unique in its ledger, from 0.
        attempt: 1 for the trial's first execution.
        token: Fences every write made in this claim's name.
        combination: What to evaluate.
        repetition: From 0; which of the combination's evaluations this is.
        level: Of resource, from 0, if the strategy has levels.
        resource: What the trial is given at that level; None without levels.
    """

    number: int
    attempt: int
    token: str
    combination: Combination
    repetition: int
    level: int = 0
    resource: int | float | None = None


class Report(NamedTuple):
    """What an attempt reports while it runs: a metric, any float, at a step from 0 on."""

    step: int
    metric: float


@dataclass(frozen=True)
class Ending:
    """How an attempt ended, as the holder of its claim says.

    Attributes:
        number: The trial's.
        attempt: Which of its executions.
        token: The claim's: only the holder's word counts.
        outcome: "finished", "failed" (it raised), "died" (without an answer) or "released" (interrupted).
        result: All that the training function returned, as JSON's values; NaN and infinities are kept.
        metric: The objective in it; any float, or None without one.
        error: Why it did not finish; of a released one as well, if that is known.
        output_dir: Where it wrote.
        reports: Its reports that the ledger does not have yet.
    """

    number: int
    attempt: int
    token: str
    outcome: str
    result: Value = None
    metric: float | None = None
    error: str | None = None
    output_dir: str | None = None
    reports: tuple[Report, ...] = ()


@dataclass(frozen=True)
class Average:
    """What the repetitions of a combination came to.

    Attributes:
        n: How many of them finished with a metric.
        mean: Of their metrics.
        std: Of their metrics, as of a sample (n - 1); None of a single one, NaN where one is infinite.
        repetitions: How many the search requires.
    """

    n: int
    mean: float
    std: float | None
    repetitions: int

    @classmethod
    def of(cls, metrics: Sequence[float], repetitions: int) -> Average:
        """Return the average of at least one metric."""
        # Exact before it is rounded: a mean is never below the least, nor above the greatest.
        mean = float(statistics.mean(metrics))
        std = None
        if len(metrics) > 1:
            std = statistics.stdev(metrics) if math.isfinite(mean) else math.nan
        return cls(len(metrics), mean, std, repetitions)

    def __str__(self) -> str:
        spread = "" if self.std is None else f" ± {self.std:.2g}"
        return f"{self.mean:.6g}{spread} (n={self.n}/{self.repetitions})"


@dataclass(frozen=True)
class TrialRecord:
    """One trial as the ledger holds it; the times are seconds since the epoch by the worker's clock.

    Attributes:
        metric: The objective; None without one. NaN and infinities are kept as they are.
        result: All that the training function returned: a number, a mapping of numbers, or None.
        worker: The host, process and job of the last attempt; None before the first.
        error: Why the last attempt did not finish.
        level: At which level it is evaluated, or was last; 0 if the strategy has none.
        resource: What it is given there; None without levels.
        metrics: Level -> the metric there, of all levels where it finished; empty without levels.
        average: Of its combination's repetitions, where it is the best trial of a search that repeats.
        run: The multirun of the last attempt; None before the first.
    """

    number: int
    combination: Combination
    repetition: int
    state: TrialState
    attempts: int
    metric: float | None
    result: Value
    output_dir: str | None
    worker: str | None
    started_at: float | None
    ended_at: float | None
    error: str | None
    level: int = 0
    resource: int | float | None = None
    metrics: Mapping[int, float | None] = field(default_factory=dict)
    average: Average | None = None
    run: str | None = None

    @property
    def value(self) -> float | None:
        """What it is judged by: the mean over repetitions where there is one, or else its metric."""
        return self.metric if self.average is None else self.average.mean
