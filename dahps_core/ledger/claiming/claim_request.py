"""What a worker states when it requests a trial."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ClaimRequest:
    """A request for a trial, with the facts about the worker and about others.

    Attributes:
        worker: The id of the worker.
        token: Of the claim that it may get; one for each request, however often that is repeated.
        max_trials: How many trials the ledger may hold in all; None: no limit.
        max_attempts: How often a trial may run, releases not counted.
        stop_after_failures: The search stops after this many failures in this multirun without a success.
        dead: Workers whose hearts were seen not to beat.
        alive: Workers whose hearts were seen to beat.
        time_left_s: Seconds until the worker's job ends; None: unknown.
        trial_time_s: Seconds that a trial takes; None: as the last finished ones.
        failing_since: The first trial of the worker's unbroken row of failures; None without one.
        resume: The worker in whose place this one was started; None without one.
        causes_of_loss: Dead worker -> why its trial is considered lost.
        max_resource_total: How much all trials may use at all levels; None: no limit.
        is_time_up: Whether the worker's multirun has used its time.
    """

    worker: str
    token: str
    max_trials: int | None
    max_attempts: int
    stop_after_failures: int | None
    dead: Collection[str] = field(default=())
    alive: Collection[str] = field(default=())
    time_left_s: float | None = None
    trial_time_s: float | None = None
    failing_since: int | None = None
    resume: str | None = None
    causes_of_loss: Mapping[str, str] = field(default_factory=dict)
    max_resource_total: float | None = None
    is_time_up: bool = False
