"""Which trial a worker gets next: the order of service, decided and then written in one transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from dahps_core.combination import Combination
from dahps_core.ledger.connection import Transaction
from dahps_core.space import SearchSpace
from dahps_core.strategies import Order
from dahps_core.trial import Claim, Draw

#: How many positions that were drawn before one transaction passes over, so that it stays short.
PASSED_OVER_PER_TRANSACTION = 1000


@dataclass(frozen=True)
class BoundSpace:
    """The space that a worker draws new trials from, and the order of its combinations."""

    id: int
    space: SearchSpace
    order: Order

    def trial_at(self, position: int) -> tuple[Combination, int]:
        """The (combination, repetition) at a position of the cursor."""
        draw, round_ = divmod(position, self.space.repetitions)
        combination = self.space[self.order[draw]]
        return combination, combination.occurrence * self.space.repetitions + round_


@dataclass(frozen=True)
class Asking:
    """A worker that asks for a trial, and what it knows of the others.

    Attributes:
        worker: Who asks.
        token: Of the claim that it may get; one for each time that it asks, however often that is repeated.
        max_trials: How many trials the ledger may hold in all; None: no limit.
        max_attempts: How often a trial may run, releases not counted.
        stop_after_failures: With so many failures in this multirun, and no success, the search stops.
        dead: Workers whose hearts were seen not to beat.
        alive: Workers whose hearts were seen to beat.
    """

    worker: str
    token: str
    max_trials: int | None
    max_attempts: int
    stop_after_failures: int | None
    dead: Collection[str] = field(default=())
    alive: Collection[str] = field(default=())


@dataclass(frozen=True)
class _Outlook:
    """What a claim has to know where nothing went wrong; one look at the ledger."""

    released: int | None
    n_drawn: int
    cursor: int
    worker_state: str
    has_finished: bool
    n_failed: int

    @classmethod
    def of(cls, transaction: Transaction, bound: BoundSpace, asking: Asking) -> _Outlook:
        return cls(*transaction.rows("outlook", space=bound.id, worker=asking.worker)[0])

    def is_stopped(self, asking: Asking) -> bool:
        limit = asking.stop_after_failures
        return limit is not None and not self.has_finished and self.n_failed >= limit

    def may_draw(self, bound: BoundSpace, asking: Asking) -> bool:
        is_allowed = asking.max_trials is None or self.n_drawn < asking.max_trials
        return is_allowed and self.cursor < bound.space.n_trials


def nothing_to_write(transaction: Transaction, bound: BoundSpace, asking: Asking) -> Draw | None:
    """What a waiting worker is told without a write; None if there is something to be written."""
    if _dead_ones_count_on(transaction, asking):
        return None
    outlook = _Outlook.of(transaction, bound, asking)
    if outlook.is_stopped(asking):
        return Draw.STOPPED
    if (
        outlook.released is not None
        or outlook.may_draw(bound, asking)
        or _oldest_to_retry(transaction, asking) is not None
    ):
        return None
    if not transaction.value("any_may_come_back", max_attempts=asking.max_attempts):
        return Draw.EXHAUSTED
    return Draw.WAIT if outlook.worker_state == "waiting" and not _enough_wait(transaction, asking) else None


def claim(transaction: Transaction, bound: BoundSpace, asking: Asking) -> Claim | Draw | None:
    """Serve a worker; None if all positions that one transaction may look at were drawn before."""
    _presume_lost(transaction, asking)
    outlook = _Outlook.of(transaction, bound, asking)
    if outlook.is_stopped(asking):
        return Draw.STOPPED
    if outlook.released is not None:
        claimed = _claim_again(transaction, asking, outlook.released)
    elif outlook.may_draw(bound, asking):
        claimed = _claim_new(transaction, bound, asking, outlook)
    elif (retried := _oldest_to_retry(transaction, asking)) is not None:
        claimed = _claim_again(transaction, asking, retried)
    else:
        return _nothing(transaction, asking)
    if claimed and outlook.worker_state != "working":
        transaction.change("set_worker_working", worker=asking.worker)
    return claimed


def claimed_before(transaction: Transaction, asking: Asking) -> Claim | None:
    """The claim that an earlier call of the same asking was given, if its answer was lost."""
    trial = transaction.row("claimed_trial", worker=asking.worker, token=asking.token)
    if trial is None:
        return None
    combination = Combination.from_json(trial["combination"])
    return Claim(trial["number"], trial["attempts"], asking.token, combination, trial["repetition"])


def remaining(transaction: Transaction, bound: BoundSpace, max_trials: int | None, max_attempts: int) -> int:
    """How many trials are not over: those still to be drawn, those that run, and those that may run again."""
    undrawn = bound.space.n_trials - _number(transaction, "cursor", space=bound.id)
    if max_trials is not None:
        undrawn = min(undrawn, max(0, max_trials - _number(transaction, "n_drawn")))
    return undrawn + _number(transaction, "count_open", max_attempts=max_attempts)


def _dead_ones_count_on(transaction: Transaction, asking: Asking) -> bool:
    """Whether a dead worker is still entered as running a trial, or as waiting for one."""
    return not _waiting(transaction).isdisjoint(asking.dead) or any(
        transaction.row("running_of_worker", worker=worker) for worker in asking.dead
    )


def _presume_lost(transaction: Transaction, asking: Asking) -> None:
    for worker in asking.dead:
        transaction.change("dismiss_waiting_worker", worker=worker, now=time.time())
        for trial in transaction.rows("running_of_worker", worker=worker):
            transaction.change(
                "presume_trial_lost",
                number=trial["number"],
                token=trial["token"],
                now=time.time(),
                error="its worker gave no sign of life for longer than the lease",
            )


def _claim_new(
    transaction: Transaction, bound: BoundSpace, asking: Asking, outlook: _Outlook
) -> Claim | None:
    end = min(outlook.cursor + PASSED_OVER_PER_TRANSACTION, bound.space.n_trials)
    for position in range(outlook.cursor, end):
        combination, repetition = bound.trial_at(position)
        is_new = transaction.change(
            "insert_trial",
            number=outlook.n_drawn,
            space=bound.id,
            position=position,
            combination=combination.to_json(),
            digest=combination.digest(),
            repetition=repetition,
            token=asking.token,
            worker=asking.worker,
            now=time.time(),
        )
        if is_new:
            transaction.change("move_cursor", space=bound.id, cursor=position + 1)
            return Claim(outlook.n_drawn, 1, asking.token, combination, repetition)
    transaction.change("move_cursor", space=bound.id, cursor=end)
    return None


def _oldest_to_retry(transaction: Transaction, asking: Asking) -> int | None:
    """The oldest failed or lost trial with attempts left that nobody alive may hold."""
    dead = json.dumps(list(asking.dead))
    # Level by level of charged attempts: the indexes give the oldest of each, and there are few levels.
    failed = [
        transaction.value("oldest_failed", charged=charged)
        for charged in _levels(transaction, "next_charge_of_failed", asking.max_attempts)
    ]
    lost = [
        transaction.value("oldest_lost", charged=charged, dead=dead)
        for charged in _levels(transaction, "next_charge_of_lost", asking.max_attempts)
    ]
    return min((int(number) for number in failed + lost if number is not None), default=None)


def _levels(transaction: Transaction, query: str, max_attempts: int) -> list[int]:
    levels: list[int] = []
    while True:
        charged = transaction.value(query, charged=levels[-1] if levels else -1)
        if charged is None or int(charged) >= max_attempts:
            return levels
        levels.append(int(charged))


def _claim_again(transaction: Transaction, asking: Asking, number: int) -> Claim | None:
    transaction.change("keep_attempt", number=number)
    transaction.change(
        "claim_trial", number=number, token=asking.token, worker=asking.worker, now=time.time()
    )
    return claimed_before(transaction, asking)


def _nothing(transaction: Transaction, asking: Asking) -> Draw:
    if not transaction.value("any_may_come_back", max_attempts=asking.max_attempts):
        return Draw.EXHAUSTED
    # A worker that waits keeps its accelerator from others, so no more of them wait than may be needed.
    if _enough_wait(transaction, asking):
        transaction.change("set_worker_left", worker=asking.worker, now=time.time())
        return Draw.LEAVE
    transaction.change("set_worker_waiting", worker=asking.worker)
    return Draw.WAIT


def _enough_wait(transaction: Transaction, asking: Asking) -> bool:
    """Whether others that are seen to live wait for every trial whose holder is not: for one at least."""
    others = _waiting(transaction) - {asking.worker}
    holders = transaction.rows("holders_of_open_trials", max_attempts=asking.max_attempts)
    doubtful = sum(holder["id"] not in asking.alive for holder in holders)
    return len(others.intersection(asking.alive)) >= max(1, doubtful)


def _waiting(transaction: Transaction) -> set[str]:
    return {row["id"] for row in transaction.rows("waiting_workers")}


def _number(transaction: Transaction, query: str, **parameters: str | int) -> int:
    return int(transaction.value(query, **parameters) or 0)
