"""How a worker works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dahps_core.errors import ConfigurationError
from dahps_core.ledger.folder.run_limits import RunLimits
from dahps_core.strategies.stopping import STOP_RULES

#: The longest that a program can wait, in seconds: poll counts milliseconds in 31 bits.
_LONGEST_S = 24 * 86_400.0


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker works.

    Attributes:
        max_trials: How many trials the ledger may hold in all; None for as many as the space has.
        max_attempts: How often a trial may be run that raises, or whose worker dies.
        stop_after_failures: Stop when this many attempts of this run failed before one finished; None: never.
        heartbeat_s: Seconds between two heartbeats.
        lease_s: Seconds without a heartbeat after which a worker is considered dead.
        isolate: Whether each trial runs in a process of its own.
        trial_timeout_s: Seconds after which a trial is killed and has failed; None: never.
        trial_time_s: How long a trial takes, for a worker whose job's time is ending; None: as long as half
            of the last ones took at most.
        grace_s: Seconds that a trial has to leave when it must end.
        stop: The rule by which trials should stop early, one of `STOP_RULES`; None: none does.
        stop_after: How many reports come before that at least.
        max_time_s: Seconds after the start of its first worker from which a multirun starts no trial; None:
            no limit.
        max_resource_total: How much all trials may use at all levels, in all; None: no limit.
        keep_checkpoints: Of how many of the best finished trials checkpoints are kept, or of the best
            combinations, where each is repeated; None: of all.
    """

    max_trials: int | None
    max_attempts: int
    stop_after_failures: int | None
    heartbeat_s: float
    lease_s: float
    isolate: bool
    trial_timeout_s: float | None = None
    trial_time_s: float | None = None
    grace_s: float = 20.0
    keep_checkpoints: int | None = None
    max_resource_total: float | None = None
    max_time_s: float | None = None
    stop: str | None = None
    stop_after: int = 5

    def __post_init__(self) -> None:
        for name in ("max_trials", "max_attempts", "stop_after_failures"):
            value = getattr(self, name)
            if value is not None and not 1 <= value < 2**63:
                raise ConfigurationError(f"{name} is {value}", hint="It must be at least 1, and below 2^63")
        if self.stop is not None and self.stop not in STOP_RULES:
            raise ConfigurationError(
                f"{self.stop!r} is unknown",
                where="strategy.stop",
                hint=f"Give one of {', '.join(STOP_RULES)}",
            )
        if not self.stop_after >= 1:
            raise ConfigurationError(
                f"{self.stop_after} is too small",
                where="strategy.stop_after",
                hint="Give a number of reports",
            )
        for name in ("max_resource_total", "max_time_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigurationError(f"{name.removesuffix('_s')} is {value}", hint="Give more than 0")
        if self.keep_checkpoints is not None and not 0 <= self.keep_checkpoints < 2**63:
            raise ConfigurationError(
                f"keep_checkpoints is {self.keep_checkpoints}",
                hint="Give a number of trials, 0 for none, or null for all",
            )
        if self.trial_timeout_s is not None and not 0 < self.trial_timeout_s <= _LONGEST_S:
            raise ConfigurationError(f"trial_timeout is {self.trial_timeout_s}", hint="Give seconds, or null")
        if self.trial_timeout_s is not None and not self.isolate:
            raise ConfigurationError(
                "trial_timeout cannot end a trial that runs in its worker's own process",
                hint="Use hydra.sweeper.isolation=process, or leave the option out",
            )
        for name in ("trial_time_s", "grace_s"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= _LONGEST_S:
                raise ConfigurationError(f"{name.removesuffix('_s')} is {value}", hint="Give seconds")
        if not 0 < self.heartbeat_s <= self.lease_s / 2 <= _LONGEST_S:
            raise ConfigurationError(
                f"a heartbeat of {self.heartbeat_s} s is too slow for a lease of {self.lease_s} s",
                hint="A lease must last two heartbeats at least, or live workers would be considered dead",
            )

    def limits(self, only: Mapping[str, Any] | None = None) -> RunLimits:
        """Return what bounds a multirun of such workers, drawing from a branch or all of the space."""
        return RunLimits(
            self.max_trials,
            self.max_attempts,
            self.stop_after_failures,
            self.max_resource_total,
            self.max_time_s,
            self.lease_s,
            None if only is None else dict(only),
        )
