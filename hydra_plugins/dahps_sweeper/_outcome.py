"""What a multirun came to: said, or raised where it could not do its part."""

from __future__ import annotations

import logging
from collections import Counter

from dahps_core.errors import DahpsError
from dahps_core.ledger import Ledger
from dahps_core.ledger.claiming.refusals import is_failing, summarized_nan
from dahps_core.ledger.folder.unread_resource import ADVICE, unread
from dahps_core.model.records import Draw
from dahps_core.text.printing import pasted, printable
from hydra_plugins.dahps_sweeper._launch import Launch

log = logging.getLogger(__name__)

#: How a worker ends when there is nothing more for it to do.
_AS_IT_SHOULD = {Draw.EXHAUSTED.value, Draw.LEAVE.value}
_RETIRED = "trials failed there that succeed elsewhere (see: dahps trials)"
_GO_ON = "All recorded results are safe. Rerun %s to continue"


def judge(launch: Launch, ledger: Ledger, run: str, left: int, again: str, *, are_gone: bool) -> None:
    """Judge a multirun whose workers have ended, but for how its trials went.

    Args:
        launch: Of all its workers.
        ledger: Read only.
        run: The multirun's id.
        left: How many trials are not over.
        again: The command to continue, in words.
        are_gone: Whether its jobs vanished without a report.

    Raises:
        DahpsError: It could not do its part.
    """
    if launch.error and not ledger.workers(run):
        raise none_started(launch.error) from launch.error
    if launch.error:
        log.warning("A worker's job failed: %s", _named(launch.error))
    if set(launch.endings) - _AS_IT_SHOULD:
        log.info("%s", summarized_endings(launch.endings))
    if left and (launch.error or are_gone):
        what = f"this multirun's workers are gone, but {left} trials are left"
        raise DahpsError(what, where=str(ledger.folder), hint=_GO_ON % again)
    if left:
        log.info("%d trials are left. %s", left, _GO_ON % again)


def none_started(error: Exception) -> DahpsError:
    """Make the error of a multirun that has no worker, by what the launcher raised."""
    return DahpsError(f"no worker could start: {_named(error)}")


def summarized_endings(endings: Counter[str]) -> str:
    """Return why workers ended, the most frequent reason first."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in endings.most_common())
    text = f"{endings.total()} workers ended: {reasons}"
    return text + (f"; {_RETIRED}" if endings[Draw.RETIRED.value] else "")


def refuse_if_none_has_metric(ledger: Ledger, run: str, limit: int | None) -> None:
    """Raise if no trial of a multirun has finished with a number, and some have failed, or `limit` gave NaN.

    Raises:
        DahpsError: With the first failure, or what gave NaN.
    """
    record = ledger.run(run)
    if record.n_nan and is_failing(record.n_failed, limit, has_finished=record.has_finished):
        raise DahpsError(
            f"the search stopped: {summarized_nan(record)}",
            where=str(ledger.folder),
            hint="Find out why it is NaN, and rerun the same command; "
            "hydra.sweeper.stop_after_failures=null continues whatever the metric is",
        )
    if record.first_failure and not record.has_finished and not record.n_nan:
        number, error = record.first_failure
        raise DahpsError(
            f"all {record.n_failed} attempts of this multirun failed. "
            f"The first one, of trial #{number}:\n{error}\n"
            "Fix it and rerun the same command to continue with the remaining trials"
        )


class FirstFault:
    """Reports a multirun's first failed attempt, and its first unread resource, as soon as there is one.

    Args:
        ledger: Read only.
        run: The multirun's id.
    """

    def __init__(self, ledger: Ledger, run: str) -> None:
        self._ledger = ledger
        self._run = run
        self._to_look_for = [self._failure, self._unread]

    def look(self) -> None:
        """Report what was not reported yet."""
        for found in list(self._to_look_for):
            if line := found():
                self._to_look_for.remove(found)
                log.warning("%s", printable(line))

    def _failure(self) -> str | None:
        failure = self._ledger.run(self._run).first_failure
        if failure is None:
            return None
        number, error = failure
        lines = error.strip().splitlines() or ["no error is known"]
        command = pasted(["dahps", "show", str(self._ledger.folder), str(number)])
        return f"First failure, trial #{number}: {lines[-1]} (in full: {command})"

    def _unread(self) -> str | None:
        ignored = unread(self._ledger.folder, self._run) if self._ledger.search.brackets else None
        return ignored and f"{ignored}. {ADVICE}."


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
