"""`dahps pause`, `resume`, `stop`, `cancel`, `retry`, `enqueue`: commands to a running search."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import click

from dahps_core.cli.combinations import KeyMissingError, completed_combinations, typed_combinations
from dahps_core.cli.ledger_argument import on_ledger
from dahps_core.cli.text import say
from dahps_core.errors import ConfigurationError
from dahps_core.ledger import Ledger
from dahps_core.ledger.control import Enqueued
from dahps_core.model.records import MAY_BE_RETRIED, TrialState
from dahps_core.space.overrides import shown_overrides
from dahps_core.text.printing import pasted

_SAID = {
    TrialState.RUNNING: "it was running: its worker ends it at its next heartbeat",
    TrialState.CANCELLED: "it was already",
}


@click.command()
@on_ledger
def pause(ledger: Ledger) -> None:
    """Pause a search: running trials finish, and no new ones start until `resume`."""
    ledger.pause()
    say(f"paused: {_workers(ledger)}; running trials will finish, no new ones start")
    say(f"resume with: {_command('resume', ledger)}")


@click.command()
@on_ledger
def resume(ledger: Ledger) -> None:
    """Resume a paused search."""
    was_paused = ledger.is_paused()
    ledger.resume()
    say(f"{'resumed:' if was_paused else 'not paused;'} {_workers(ledger)}")


@click.command()
@on_ledger
@click.option("--now", is_flag=True, help="running trials are released, and not waited for")
def stop(ledger: Ledger, *, now: bool) -> None:
    """Stop all multiruns: each worker finishes its current trial and exits."""
    ledger.stop(now=now)
    end = "releases its trial and exits" if now else "finishes its current trial and exits"
    say(f"stopping: {_workers(ledger)}; each {end}, queued ones exit when they start")
    say("start a new multirun on this ledger to continue the search")


@click.command(context_settings={"ignore_unknown_options": True})  # -1 is a number, if a wrong one
@on_ledger
@click.argument("numbers", metavar="N", type=int, nargs=-1, required=True)
def cancel(ledger: Ledger, numbers: tuple[int, ...]) -> None:
    """Cancel trials: running ones are stopped, others never run. N is a trial's number."""
    for number, was in zip(numbers, ledger.cancel(*numbers), strict=True):
        say(f"trial #{number} is cancelled" + (f"; {_SAID[was]}" if was in _SAID else ""))
    say(f"run after all with: {_command('retry', ledger, *numbers)}")


@click.command()
@on_ledger
@click.argument("numbers", metavar="N", type=int, nargs=-1)
@click.option("--failed", is_flag=True, help="all failed and lost trials")
def retry(ledger: Ledger, numbers: tuple[int, ...], *, failed: bool) -> None:
    """Rerun failed, lost or cancelled trials, before all new ones. N is a trial's number."""
    if failed == bool(numbers):
        raise ConfigurationError("give the numbers of trials, or --failed", where="retry")
    if failed:
        numbers = tuple(ledger.retry_failed())
    else:
        ledger.retry(*numbers)
    if numbers:
        queued = ", ".join(f"#{number}" for number in numbers)
        say(f"queued before all new trials, with no attempt counted: {queued}")
        _report_without_workers(ledger)
    else:
        say("no failed or lost trials")


@click.command()
@on_ledger
@click.argument("words", metavar="key=value", nargs=-1)
def enqueue(ledger: Ledger, words: tuple[str, ...]) -> None:
    """Queue combinations of the space, before all other new ones.

    With all keys given, key=a,b means both. With some of them, the others are drawn at random.
    """
    try:
        trials = ledger.enqueue(typed_combinations(ledger.space, words))
    except KeyMissingError:
        keys = {key for _, key, _ in ledger.space.levels()}
        if not words or not all(word.partition("=")[0] in keys for word in words):
            raise
        trials = _enqueue_completed(ledger, words)
    for trial in trials:
        is_queued = trial.state is TrialState.QUEUED
        state = "queued" if is_queued else f"{trial.state.value} already, and not run twice"
        which = f" (repetition {trial.repetition})" if ledger.space.repetitions > 1 else ""
        say(f"trial #{trial.number} is {state}: {shown_overrides(trial.combination)}{which}")
    if came_to_nothing := [trial.number for trial in trials if trial.state in MAY_BE_RETRIED]:
        say(f"run again with: {_command('retry', ledger, *came_to_nothing)}")
    _report_without_workers(ledger)


def _enqueue_completed(ledger: Ledger, words: Sequence[str]) -> list[Enqueued]:
    for combination in completed_combinations(ledger.space, words, secrets.randbits(63)):
        before = ledger.n_drawn
        trials = ledger.enqueue([combination])
        if any(trial.number >= before for trial in trials):
            break
    return trials


def _report_without_workers(ledger: Ledger) -> None:
    if ledger.is_paused():
        say(f"the search is paused; resume with: {_command('resume', ledger)}")
    elif not _n_workers(ledger):
        say("no worker is running: start a new multirun on this ledger to run them")


def _workers(ledger: Ledger) -> str:
    n_workers = _n_workers(ledger)
    return "1 worker is running" if n_workers == 1 else f"{n_workers or 'no'} workers are running"


def _n_workers(ledger: Ledger) -> int:
    counts = ledger.worker_counts()
    return counts["working"] + counts["waiting"]


def _command(name: str, ledger: Ledger, *words: object) -> str:
    return pasted(["dahps", name, str(ledger.folder), *map(str, words)])
