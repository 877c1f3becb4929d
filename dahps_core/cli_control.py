"""`dahps pause`, `resume`, `stop`, `cancel`, `retry`, `enqueue`: what a person says to a search that runs."""

from __future__ import annotations

import argparse
import shlex

from dahps_core.cli_combinations import typed_combinations
from dahps_core.errors import ConfigurationError
from dahps_core.ledger import Ledger
from dahps_core.overrides import shown_overrides
from dahps_core.trial import TrialState

_SAID = {
    TrialState.RUNNING: "it was running: its worker ends it at its next heartbeat",
    TrialState.CANCELLED: "it was already",
}
_MAY_BE_RETRIED = {TrialState.FAILED, TrialState.LOST, TrialState.CANCELLED}


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    _added(commands, "pause", _pause, "no worker gets a trial until `resume`; what runs goes on")
    _added(commands, "resume", _resume, "workers get trials again")
    stop = _added(commands, "stop", _stop, "the workers of all multiruns end after their trials")
    stop.add_argument("--now", action="store_true", help="running trials are released, and not waited for")
    cancel = _added(commands, "cancel", _cancel, "trials are not run, or not to their end")
    cancel.add_argument("numbers", metavar="N", type=int, nargs="+", help="a trial's number")
    retry = _added(commands, "retry", _retry, "trials that came to nothing run again, before all new ones")
    retry.add_argument("numbers", metavar="N", type=int, nargs="*", help="a trial's number")
    retry.add_argument("--failed", action="store_true", help="all that failed or were lost")
    enqueue = _added(commands, "enqueue", _enqueue, "combinations of the space run before all other new ones")
    enqueue.add_argument("words", metavar="key=value", nargs="*", help="all keys; key=a,b means both")


def _added(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, command: object, help: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help)
    parser.add_argument("ledger", metavar="LEDGER", help="the ledger's folder")
    parser.set_defaults(command=command)
    return parser


def _pause(ledger: Ledger, options: argparse.Namespace) -> None:
    ledger.pause()
    print(f"paused: {_workers(ledger)}; what runs goes on to its end, and nothing else begins")
    print(f"resume with: {_command('resume', ledger)}")


def _resume(ledger: Ledger, options: argparse.Namespace) -> None:
    was_paused = ledger.is_paused()
    ledger.resume()
    print(f"{'resumed' if was_paused else 'it was not paused'}: {_workers(ledger)}")


def _stop(ledger: Ledger, options: argparse.Namespace) -> None:
    ledger.stop(now=options.now)
    end = "releases its trial and ends" if options.now else "ends after its current trial"
    print(f"stopped: {_workers(ledger)}; each {end}, and one that is still to start ends at once")
    print("a new multirun on this ledger goes on with the search")


def _cancel(ledger: Ledger, options: argparse.Namespace) -> None:
    for number, was in zip(options.numbers, ledger.cancel(*options.numbers), strict=True):
        print(f"trial #{number} is cancelled" + (f"; {_SAID[was]}" if was in _SAID else ""))
    print(f"run after all with: {_command('retry', ledger, *options.numbers)}")


def _retry(ledger: Ledger, options: argparse.Namespace) -> None:
    if options.failed == bool(options.numbers):
        raise ConfigurationError("give the numbers of trials, or --failed", where="retry")
    if options.failed:
        numbers = ledger.retry_failed()
    else:
        numbers = options.numbers
        ledger.retry(*numbers)
    if numbers:
        queued = ", ".join(f"#{number}" for number in numbers)
        print(f"queued before all new trials, with no attempt counted: {queued}")
        _tell_if_nobody_works(ledger)
    else:
        print("no trial has failed or was lost")


def _enqueue(ledger: Ledger, options: argparse.Namespace) -> None:
    trials = ledger.enqueue(typed_combinations(ledger.space, options.words))
    for trial in trials:
        is_queued = trial.state is TrialState.QUEUED
        state = "queued" if is_queued else f"{trial.state.value} already, and not run twice"
        which = f" (repetition {trial.repetition})" if ledger.space.repetitions > 1 else ""
        print(f"trial #{trial.number} is {state}: {shown_overrides(trial.combination)}{which}")
    if failed := [trial.number for trial in trials if trial.state in _MAY_BE_RETRIED]:
        print(f"run again with: {_command('retry', ledger, *failed)}")
    _tell_if_nobody_works(ledger)


def _tell_if_nobody_works(ledger: Ledger) -> None:
    if ledger.is_paused():
        print(f"the search is paused; resume with: {_command('resume', ledger)}")
    elif not _n_workers(ledger):
        print("no worker runs: a new multirun on this ledger runs them")


def _workers(ledger: Ledger) -> str:
    n_workers = _n_workers(ledger)
    return "1 worker runs" if n_workers == 1 else f"{n_workers or 'no'} workers run"


def _n_workers(ledger: Ledger) -> int:
    counts = ledger.worker_counts()
    return counts["working"] + counts["waiting"]


def _command(name: str, ledger: Ledger, *words: object) -> str:
    return shlex.join(["dahps", name, str(ledger.folder), *map(str, words)])
