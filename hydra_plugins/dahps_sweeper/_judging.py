"""What a multirun came to: said, or raised where it could not do its part."""

from __future__ import annotations

import logging
from collections import Counter

from dahps_core.errors import DahpsError
from dahps_core.ledger import Ledger
from dahps_core.trial import Draw
from hydra_plugins.dahps_sweeper._launch import Launch

log = logging.getLogger(__name__)

#: How a worker ends when there is nothing more for it to do.
_AS_IT_SHOULD = {Draw.EXHAUSTED.value, Draw.LEAVE.value}
_RETIRED = "trials failed there that do not fail elsewhere (which, and where: dahps trials)"
_GO_ON = "Nothing that was recorded is lost: run %s to go on"


def judge(launch: Launch, ledger: Ledger, run: str, left: int, again: str, *, are_gone: bool) -> None:
    """Judge a multirun whose workers have ended, but for how its trials went.

    Args:
        launch: Of all its workers.
        ledger: Read only.
        run: The multirun's id.
        left: How many trials are not over.
        again: The command that goes on, in words.
        are_gone: Whether its jobs vanished without a word.

    Raises:
        DahpsError: It could not do its part.
    """
    if launch.error and not ledger.workers(run):
        raise none_started(launch.error) from launch.error
    if launch.error:
        log.warning("A worker ended badly: %s", _named(launch.error))
    if set(launch.endings) - _AS_IT_SHOULD:
        log.info("%s", summarized_endings(launch.endings))
    if left and (launch.error or are_gone):
        what = f"this multirun's workers are gone, and {left} trials are left"
        raise DahpsError(what, where=str(ledger.folder), mend=_GO_ON % again)
    if left:
        log.info("%d trials are left. %s", left, _GO_ON % again)


def none_started(error: Exception) -> DahpsError:
    """The error of a multirun that has no worker, by what the launcher raised."""
    return DahpsError(f"no worker could start: {_named(error)}")


def summarized_endings(endings: Counter[str]) -> str:
    """Why workers ended, the most frequent reason first."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in endings.most_common())
    told = f"{endings.total()} workers ended: {reasons}"
    return told + (f"; {_RETIRED}" if endings[Draw.RETIRED.value] else "")


def refuse_if_all_failed(ledger: Ledger, run: str) -> None:
    """Raise if no trial of a multirun has finished, and some have failed.

    Raises:
        DahpsError: With the first failure.
    """
    record = ledger.run(run)
    if record.first_failure and not record.has_finished:
        number, error = record.first_failure
        raise DahpsError(
            f"all {record.n_failed} attempts of this multirun failed. "
            f"The first one, of trial #{number}:\n{error}\n"
            "Run the same command again when it is mended, to go on with the trials that are left"
        )


def warn_if_without_metric(ledger: Ledger) -> None:
    """Say so if trials have finished, and none of them with a metric: a `return` is soon forgotten."""
    lack_it = (trial.metric is None for trial in ledger.trials())
    if ledger.best() is None and ledger.counts()["finished"] and all(lack_it):
        log.warning(
            "No trial has finished with a metric: the training function has to return what is to be %sd",
            ledger.search.direction,
        )


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
