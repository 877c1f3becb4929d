"""Which trial a worker gets next: the order of service, decided and then written in one transaction."""

from __future__ import annotations

import time
from dataclasses import dataclass

from dahps_core.errors import NotALedgerError
from dahps_core.ledger.claiming import refusals
from dahps_core.ledger.claiming.bound_space import BoundSpace
from dahps_core.ledger.claiming.claim_request import ClaimRequest
from dahps_core.ledger.claiming.lost_workers import NO_HEARTBEAT
from dahps_core.ledger.folder.run_limits import RunLimits
from dahps_core.ledger.sqlite.database import Transaction
from dahps_core.model.combination import Combination
from dahps_core.model.records import Claim, Draw

#: How many positions that were drawn before one transaction passes over, so that it stays short.
PASSED_OVER_PER_TRANSACTION = 1000

#: How a worker is entered that was refused a trial for such a reason; other reasons change nothing. Who is on
#: probation is not entered as waiting: the others must not rely on it.
_STATE_AFTER_REFUSAL = {Draw.PAUSED: "waiting", Draw.OUT_OF_TIME: "left", Draw.RETIRED: "left"}


@dataclass(frozen=True)
class _Outlook:
    """The facts that decide a usual claim; one look at the ledger."""

    released: int | None
    queued: int | None
    n_drawn: int
    cursor: int
    is_paused: bool
    worker_state: str
    is_stopped: bool
    has_finished: bool
    n_failed: int

    @classmethod
    def of(cls, transaction: Transaction, bound: BoundSpace, request: ClaimRequest) -> _Outlook:
        found = transaction.row("outlook", space=bound.id, worker=request.worker)
        if found is None:
            raise NotALedgerError(
                "the ledger was replaced after this worker registered",
                where=f"worker {request.worker}",
                hint="Its folder was removed and created again: rerun the same command",
            )
        return cls(*found)

    def may_draw(self, bound: BoundSpace, request: ClaimRequest) -> bool:
        is_allowed = request.max_trials is None or self.n_drawn < request.max_trials
        return is_allowed and self.cursor < bound.space.n_trials


def nothing_to_write(transaction: Transaction, bound: BoundSpace, request: ClaimRequest) -> Draw | None:
    """Return the answer to a waiting worker that requires no write; None if one is required."""
    if _dead_ones_count_on(transaction, request):
        return None
    outlook = _Outlook.of(transaction, bound, request)
    if request.is_time_up and not outlook.is_stopped:
        return None
    refusal = _refusal(transaction, outlook, request)
    if refusal is not None:
        state = _STATE_AFTER_REFUSAL.get(refusal, outlook.worker_state)
        return refusal if state == outlook.worker_state else None
    trials = bound.open_trials(transaction)
    if (
        trials.next_in_line(outlook.released, outlook.queued) is not None
        or _due(transaction, bound, request, outlook) is not None
        or trials.oldest_to_retry(request.max_attempts, request.dead) is not None
    ):
        return None
    if not bound.trials_that_may_matter(transaction).any_may_come_back(request.max_attempts):
        return Draw.EXHAUSTED
    is_to_wait = outlook.worker_state == "waiting" and not _enough_wait(transaction, bound, request)
    return Draw.WAIT if is_to_wait else None


def claim(transaction: Transaction, bound: BoundSpace, request: ClaimRequest) -> Claim | Draw | None:
    """Serve a worker; None if all positions that one transaction may look at were drawn before."""
    _presume_lost(transaction, request)
    outlook = _Outlook.of(transaction, bound, request)
    if request.is_time_up:  # later workers get none either, and the sweeper sees the end
        transaction.change("stop_run_of_worker", worker=request.worker)
    refusal = _refusal(transaction, outlook, request)
    if refusal is not None:
        _enter(transaction, request, _STATE_AFTER_REFUSAL.get(refusal))
        return refusal
    trials = bound.open_trials(transaction)
    waiting = _left_by(transaction, request)
    if waiting is None:
        waiting = trials.next_in_line(outlook.released, outlook.queued)
    if waiting is not None:
        claimed = _claim_again(transaction, bound, request, waiting)
    elif (due := _due(transaction, bound, request, outlook)) is not None:
        is_new = due == outlook.n_drawn
        claimed = (
            _claim_new(transaction, bound, request, outlook)
            if is_new
            else _promote(transaction, bound, request, due)
        )
    elif (retried := trials.oldest_to_retry(request.max_attempts, request.dead)) is not None:
        claimed = _claim_again(transaction, bound, request, retried)
    else:
        return _nothing(transaction, bound, request)
    if claimed and outlook.worker_state != "working":
        transaction.change("set_worker_working", worker=request.worker)
    return claimed


def claimed_before(transaction: Transaction, bound: BoundSpace, request: ClaimRequest) -> Claim | None:
    """Return the claim that an earlier call of the same request made, if its answer was lost."""
    trial = transaction.row("claimed_trial", worker=request.worker, token=request.token)
    if trial is None:
        return None
    drawn = Combination.from_json(trial["combination"]), trial["repetition"]
    return bound.claim_of(trial["number"], trial["attempts"], request.token, drawn, trial["level"])


def remaining(transaction: Transaction, bound: BoundSpace, limits: RunLimits, n_ahead: int) -> int:
    """Return how many trials are not over: those still to be drawn or promoted, that run, and may run again.

    Args:
        transaction: On the ledger.
        bound: The space that is drawn from.
        limits: Of the multirun; its branch is that of `bound`.
        n_ahead: How many trials of the space exist ahead of its cursor.
    """
    trials = bound.open_trials(transaction)
    n_due = due(transaction, bound, limits, n_ahead)
    if bound.rungs:
        n_due += trials.count_promotable()
        n_drawn = _number(transaction, "n_drawn")
        promotable = trials.next_promotion()
        number = n_drawn if promotable is None else promotable
        if not bound.rungs.affords(transaction, number, n_drawn, limits.max_resource_total):
            n_due = 0
    return n_due + trials.count(limits.max_attempts)


def due(transaction: Transaction, bound: BoundSpace, limits: RunLimits, n_ahead: int) -> int:
    """Return how many trials are still to be drawn, with the arguments of `remaining`."""
    n_due = bound.space.n_trials - _number(transaction, "cursor", space=bound.id) - n_ahead
    if limits.max_trials is None:
        return n_due
    return min(n_due, max(0, limits.max_trials - _number(transaction, "n_drawn")))


def _due(transaction: Transaction, bound: BoundSpace, request: ClaimRequest, outlook: _Outlook) -> int | None:
    """Return the number of the strategy's next trial: one to be promoted, or else a new one."""
    new = outlook.n_drawn if outlook.may_draw(bound, request) else None
    if bound.rungs is None:
        return new
    promotable = bound.open_trials(transaction).next_promotion()
    number = new if promotable is None else promotable
    if number is None or not bound.rungs.affords(
        transaction, number, outlook.n_drawn, request.max_resource_total
    ):
        return None
    return number


def _refusal(transaction: Transaction, outlook: _Outlook, request: ClaimRequest) -> Draw | None:
    """Return why the worker gets no trial, whichever there are."""
    if request.is_time_up:
        return Draw.TIME_UP
    if outlook.is_stopped:
        return Draw.STOPPED
    if refusals.is_failing(outlook.n_failed, request.stop_after_failures, has_finished=outlook.has_finished):
        return Draw.FAILING
    if refusals.is_out_of_time(transaction, request.time_left_s, request.trial_time_s):
        return Draw.OUT_OF_TIME
    if outlook.is_paused:
        return Draw.PAUSED
    if request.failing_since is not None:
        return refusals.probation(transaction, request.worker, request.failing_since)
    return None


def _enter(transaction: Transaction, request: ClaimRequest, state: str | None) -> None:
    if state == "left":
        transaction.change("set_worker_left", worker=request.worker, now=time.time())
    elif state == "waiting":
        transaction.change("set_worker_waiting", worker=request.worker)


def _left_by(transaction: Transaction, request: ClaimRequest) -> int | None:
    """Return the trial that the worker's predecessor left, if it may run again."""
    if request.resume is None:
        return None
    found = transaction.value("trial_left_by", worker=request.resume, max_attempts=request.max_attempts)
    return None if found is None else int(found)


def _dead_ones_count_on(transaction: Transaction, request: ClaimRequest) -> bool:
    """Return whether a dead worker is still recorded as running or waiting."""
    if not request.dead:
        return False
    waiting = {row["id"] for row in transaction.rows("waiting_workers")}
    return not waiting.isdisjoint(request.dead) or any(
        transaction.row("running_of_worker", worker=worker) for worker in request.dead
    )


def _presume_lost(transaction: Transaction, request: ClaimRequest) -> None:
    for worker in request.dead:
        transaction.change("dismiss_waiting_worker", worker=worker, now=time.time())
        for trial in transaction.rows("running_of_worker", worker=worker):
            transaction.change(
                "presume_trial_lost",
                number=trial["number"],
                token=trial["token"],
                now=time.time(),
                error=request.causes_of_loss.get(worker, NO_HEARTBEAT.format("its worker")),
            )


def _claim_new(
    transaction: Transaction, bound: BoundSpace, request: ClaimRequest, outlook: _Outlook
) -> Claim | None:
    for drawn in bound.drawn(outlook.n_drawn):
        if claimed := _insert(transaction, bound, request, outlook.n_drawn, drawn, None):
            transaction.change("count_enqueued", space=bound.id, n=1, n_between=0)
            return claimed
    end = min(outlook.cursor + PASSED_OVER_PER_TRANSACTION, bound.space.n_trials)
    for position in range(outlook.cursor, end):
        drawn = bound.trial_at(position)
        if claimed := _insert(transaction, bound, request, outlook.n_drawn, drawn, position):
            transaction.change("move_cursor", space=bound.id, cursor=position + 1)
            return claimed
    transaction.change("move_cursor", space=bound.id, cursor=end)
    return None


def _insert(
    transaction: Transaction,
    bound: BoundSpace,
    request: ClaimRequest,
    number: int,
    drawn: tuple[Combination, int],
    position: int | None,
) -> Claim | None:
    """Return the claim of a new trial; None if it exists already."""
    combination, repetition = drawn
    level = bound.first_level(number)
    is_new = transaction.change(
        "insert_trial",
        number=number,
        space=bound.id,
        position=position,
        combination=combination.to_json(),
        digest=combination.digest(),
        repetition=repetition,
        level=level,
        token=request.token,
        worker=request.worker,
        now=time.time(),
    )
    return bound.claim_of(number, 1, request.token, drawn, level) if is_new else None


def _promote(transaction: Transaction, bound: BoundSpace, request: ClaimRequest, number: int) -> Claim | None:
    assert bound.rungs
    bound.rungs.promote(transaction, number)
    return _claim_again(transaction, bound, request, number, edge="promote_trial")


def _claim_again(
    transaction: Transaction, bound: BoundSpace, request: ClaimRequest, number: int, edge: str = "claim_trial"
) -> Claim | None:
    transaction.change("keep_attempt", number=number, now=time.time())
    transaction.change(edge, number=number, token=request.token, worker=request.worker, now=time.time())
    return claimed_before(transaction, bound, request)


def _nothing(transaction: Transaction, bound: BoundSpace, request: ClaimRequest) -> Draw:
    if not bound.trials_that_may_matter(transaction).any_may_come_back(request.max_attempts):
        return Draw.EXHAUSTED
    # A worker that waits keeps its accelerator from others, so no more of them wait than may be needed.
    is_to_leave = _enough_wait(transaction, bound, request)
    _enter(transaction, request, "left" if is_to_leave else "waiting")
    return Draw.LEAVE if is_to_leave else Draw.WAIT


def _enough_wait(transaction: Transaction, bound: BoundSpace, request: ClaimRequest) -> bool:
    """Return whether enough live workers wait for the trials of missing ones: at least one."""
    others = {
        row["id"]
        for row in transaction.rows("waiting_workers")
        if row["id"] != request.worker and row["branch"] in (None, bound.branch)
    }
    holders = bound.trials_that_may_matter(transaction).holders(request.max_attempts)
    doubtful = sum(holder not in request.alive for holder in holders)
    return len(others.intersection(request.alive)) >= max(1, doubtful)


def _number(transaction: Transaction, query: str, **parameters: str | int) -> int:
    return int(transaction.value(query, **parameters) or 0)
