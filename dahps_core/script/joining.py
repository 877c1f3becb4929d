"""A script that a trial has started again: it takes part in the trial, and in no search of its own."""

from __future__ import annotations

from dataclasses import replace

from dahps_core.errors import ConfigurationError
from dahps_core.script.claimed_trial import program
from dahps_core.space import SearchSpace
from dahps_core.trial.current import Trial, is_evaluating, joined_trial
from dahps_core.trial.membership import ADVICE, Attempt


def joined(space: SearchSpace) -> Trial | None:
    """Return the trial that this process was started in, to be evaluated and not recorded; None without one.

    Args:
        space: Of the search that the script makes.

    Raises:
        AttemptOver: The attempt has ended.
        ConfigurationError: It is a trial of another program, or of another search.
    """
    attempt = None if is_evaluating() else Attempt.of_this_process()
    trial = joined_trial() if attempt else None
    if not (attempt and trial):
        return None
    if attempt.request("program") != program():
        raise _refusal(trial, f"this trial has started another program: {program()['script']}")
    try:
        space.index(trial.combination)
    except ValueError as error:
        raise _refusal(trial, f"this script, started in the trial, searches another space: {error}") from None
    attempt.request("join")
    return replace(trial, _history=None)


def _refusal(trial: Trial, what: str) -> ConfigurationError:
    return ConfigurationError(what, where=f"trial {trial.number}", hint=ADVICE)
