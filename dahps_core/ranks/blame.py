"""Whose fault it is that an attempt ended, where several ranks have failed."""

from __future__ import annotations

from collections.abc import Sequence

from dahps_core.process.trial_process import Answer


def blamed(failures: Sequence[tuple[str, Answer]]) -> Answer:
    """Combine the failures of some ranks, each with its name, into the end of their attempt."""
    # A killed rank says nothing about the trial, and neither does the loss of its connection.
    outcome = "died" if any(failure.outcome == "died" for _, failure in failures) else "failed"
    return Answer(outcome, error="\n\n".join(f"{who}: {failure.error}" for who, failure in failures))
