"""Whether what the trials wrote down of themselves and what the ledger says of them are one story."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

#: Seconds that it may take from the command that kills a process to its end.
DYING_S = 3.0


@dataclass(frozen=True)
class Event:
    """What an attempt wrote down: that it started at a step, made one, left when told, or came to the end.

    Attributes:
        at: Seconds, by the machine's monotonic clock.
        what: "start", "step", "leave" or "end".
        step: How many steps the checkpoint holds.
    """

    at: float
    what: str
    number: int
    attempt: int
    step: int
    pid: int
    node: str | None = None

    @property
    def key(self) -> tuple[int, int]:
        return self.number, self.attempt


@dataclass(frozen=True)
class Attempt:
    """One attempt in the ledger.

    Attributes:
        outcome: How it ended; of a trial's last attempt, the trial's state.
        worker: The process id of its worker.
    """

    outcome: str
    worker: int = 0
    error: str | None = None
    metric: float | None = None


@dataclass(frozen=True)
class Killed:
    """What was killed.

    Attributes:
        workers: The process ids of workers, and when they were killed, by the machine's monotonic clock.
        trials_of: The process ids of workers whose trials were.
    """

    workers: dict[int, float] = field(default_factory=dict)
    trials_of: set[int] = field(default_factory=set)

    def explains(self, account: Attempt) -> bool:
        """Whether this is why the attempt ended as it did; what is told to end gives its trial back."""
        if account.outcome == "died":
            return account.worker in self.workers or account.worker in self.trials_of
        return account.outcome in ("finished", "released") or (
            account.outcome == "lost" and account.worker in self.workers
        )


Accounts = dict[tuple[int, int], Attempt]


def events_of(record: Path) -> list[Event]:
    """What all attempts wrote down, in the order in which they did."""
    lines = record.read_text().splitlines() if record.exists() else []
    return [Event(**json.loads(line)) for line in lines]


def accounts_of(database: Path) -> Accounts:
    """All attempts of a ledger that nobody writes to any more, by number and attempt."""
    query = """SELECT number, attempts, trial.state, pid, error, metric FROM trial JOIN worker ON id = worker
               UNION ALL
               SELECT trial, attempt, outcome, pid, error, NULL FROM attempt JOIN worker ON id = worker"""
    return {(number, attempt): Attempt(*rest) for number, attempt, *rest in _rows(database, query)}


def workers_of(database: Path) -> list[tuple[str, int, str]]:
    """The ids of all workers, their process ids, and their states."""
    return _rows(database, "SELECT id, pid, state FROM worker")


def _rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


class Inquest:
    """Holds the record against the ledger.

    Args:
        events: The record.
        accounts: The ledger.
        killed: What was killed; all else that was interrupted was told to end.
        metrics: Those that the trials must have, by number.

    Attributes:
        faults: What must not be, a line each.
        counts: What may be, and how often it was.
    """

    def __init__(
        self, events: Sequence[Event], accounts: Accounts, killed: Killed, metrics: Sequence[float]
    ) -> None:
        self.counts: Counter[str] = Counter(f"attempts {one.outcome}" for one in accounts.values())
        self._accounts = accounts
        self._killed = killed
        self._of_attempt: dict[tuple[int, int], list[Event]] = defaultdict(list)
        self._of_trial: dict[int, list[Event]] = defaultdict(list)
        for event in events:
            self._of_attempt[event.key].append(event)
            self._of_trial[event.number].append(event)
        self.faults = [*self._unfinished(metrics), *self._unexplained()]
        for trial in self._of_trial.values():
            self.faults += [*_overlaps(trial), *_lost_steps(trial)]

    def _unfinished(self, metrics: Sequence[float]) -> Iterator[str]:
        """Every trial is finished, by its last attempt, which came to its end once."""
        last = dict(sorted(self._accounts))
        for key in last.items():
            ends = [event for event in self._of_attempt[key] if event.what == "end"]
            if self._accounts[key].outcome != "finished" or len(ends) != 1:
                yield f"{_shown(key)} is {self._accounts[key].outcome}, and came {len(ends)} times to its end"
        found = sorted(self._accounts[key].metric or 0.0 for key in last.items())
        if found != sorted(metrics):
            yield f"there are {len(found)} metrics of {len(metrics)}, or other ones: {found}"

    def _unexplained(self) -> Iterator[str]:
        """The ledger knows of each attempt that was made, and why it ended; and of no others."""
        for key in sorted(self._accounts.keys() | self._of_attempt.keys()):
            events, account = self._of_attempt[key], self._accounts.get(key)
            if account is None:
                yield f"{_shown(key)} was made, and the ledger does not know of it"
            elif not self._killed.explains(account):
                yield f"{_shown(key)} is {account.outcome}, which no deed explains: {account.error}"
            elif not events:
                self.counts[f"{account.outcome} before they began"] += 1
            elif account.outcome != "finished" and events[-1].what != "step":
                self.counts[f"{account.outcome} after their {events[-1].what}"] += 1
            if account and events and events[-1].at > self._killed.workers.get(account.worker, inf) + DYING_S:
                yield f"{_shown(key)} went on when its worker had been killed"
            if events and [event.what for event in events].count("start") != 1:
                yield f"{_shown(key)} was begun more than once"
            if len({event.pid for event in events}) > 1:
                yield f"{_shown(key)} was made by several processes"


def _overlaps(trial: list[Event]) -> Iterator[str]:
    """No attempt does anything once a later one has begun."""
    latest = 0
    for event in trial:
        if event.attempt < latest:
            yield f"{_shown(event.key)} reached step {event.step} when attempt {latest} had begun"
        latest = max(latest, event.attempt)


def _lost_steps(trial: list[Event]) -> Iterator[str]:
    """An attempt begins with the checkpoint that was left, and makes one step after the other."""
    saved = 0
    for event in trial:
        # One that is killed between its checkpoint and its note of it leaves a step that nobody noted.
        expected = {"start": (saved, saved + 1), "step": (saved + 1,)}.get(event.what, (saved,))
        if event.step not in expected:
            yield f"{_shown(event.key)} has a {event.what} at step {event.step}, and {saved} were saved"
        saved = max(saved, event.step)


def _shown(key: tuple[int, int]) -> str:
    return f"trial {key[0]}, attempt {key[1]}"
