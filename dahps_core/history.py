"""What an attempt tells of itself while it runs, on its way to the ledger."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from socket import socket

from dahps_core.errors import LedgerError, LedgerUnavailableError, described, rebuilt
from dahps_core.launchers import rank_in_trial, rank_variables
from dahps_core.membership import Attempt, read_line
from dahps_core.strategies.stopping import Stopper
from dahps_core.trial import Report

#: What a child sends in place of a report when it asks its worker to write.
_FLUSH = b"null\n"


class History:
    """What one attempt has told, kept in memory until it is written.

    A forked child tells its worker each report at once, so that the trial's death loses none of them; its
    worker's death loses those since the last `flush`. A process that either of them forks reports as one
    does that was spawned.

    Args:
        write: Records reports in the ledger, in the name of the attempt's claim.
        stopper: Judges the trial by its reports; None: nothing stops it.

    Attributes:
        last: The metric that was reported last; None without one.
    """

    def __init__(self, write: Callable[[Sequence[Report]], None], stopper: Stopper | None = None) -> None:
        self._write = write
        self._stopper = stopper
        self._kept: list[Report] = []
        self.last: float | None = None
        self._unfinished = b""
        self._worker: socket | None = None
        self._asking = threading.Lock()
        self._process = os.getpid()
        self._ranks = rank_variables()

    @property
    def rest(self) -> tuple[Report, ...]:
        """What is not written yet, oldest first; for the attempt's `Ending`."""
        return tuple(self._kept)

    @property
    def is_recorded(self) -> bool:
        """Whether what this process reports is recorded."""
        return not (elsewhere := self._elsewhere()) or elsewhere.is_recorded

    @property
    def should_stop(self) -> bool | None:
        """Whether the reports so far say that the trial should stop; None if another process decides."""
        if self._elsewhere():
            return None
        return self._stopper is not None and self._stopper.should_stop

    def report(self, report: Report) -> None:
        """Take one report; no access to the storage."""
        if elsewhere := self._elsewhere():
            elsewhere.report(report)
            return
        self._judge(report)
        if self._worker:
            self._worker.sendall(json.dumps(report).encode() + b"\n")
        else:
            self._kept.append(report)

    def flush(self) -> None:
        """Write what is not written yet; returns when it is safe.

        Raises:
            ClaimLost: The claim is held no longer, whether or not there was anything to write.
            LedgerError: It could not be written.
        """
        if elsewhere := self._elsewhere():
            elsewhere.flush()
            return
        with self._asking:
            if self._worker:
                self._worker.sendall(_FLUSH)
                _heed(_line(self._worker))
            else:
                rest = self.rest
                self._write(rest)
                del self._kept[: len(rest)]

    def tell(self, worker: socket) -> None:
        """In a forked child: from now on all goes to the worker at the other end."""
        self._worker = worker
        self._process = os.getpid()

    def take_in(self, data: bytes) -> int:
        """In the worker: take in what came from the child; returns how often it asks for a flush."""
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        told = [json.loads(line) for line in lines]
        for report in told:
            if report is not None:
                self._judge(Report(*report))
                self._kept.append(Report(*report))
        return told.count(None)

    def flush_for_child(self) -> bytes:
        """In the worker: flush; the word that the child waits for."""
        try:
            self.flush()
        except LedgerError as error:
            return json.dumps(described(error)).encode() + b"\n"
        return b"null\n"

    def _judge(self, report: Report) -> None:
        self.last = report.metric
        if self._stopper:
            self._stopper.take(*report)

    def _elsewhere(self) -> RemoteHistory | None:
        """Return the way to the owner's history, in a process that was forked from the trial's own."""
        attempt = None if os.getpid() == self._process else Attempt.of_this_process()
        return RemoteHistory(attempt, self._ranks) if attempt else None


class RemoteHistory:
    """The history of the attempt that this process was started in, which the attempt's owner keeps.

    Args:
        attempt: How to reach the owner.
        ranks: What the owner's environment had of `rank_variables`.
    """

    should_stop = None  # the owner decides

    def __init__(self, attempt: Attempt, ranks: Mapping[str, str]) -> None:
        self._attempt = attempt
        self._ranks = ranks

    @property
    def is_recorded(self) -> bool:
        """Whether what this process reports is recorded: rank 0 alone reports."""
        return rank_in_trial(self._ranks) == 0

    def report(self, report: Report) -> None:
        """Hand one report to the owner."""
        self._attempt.request("report", step=report.step, metric=report.metric)

    def flush(self) -> None:
        """Let the owner write; raises as `History.flush`."""
        self._attempt.request("flush")


class HistoryFile:
    """The history of a run outside of a search: a file with a line of JSON for each report.

    Args:
        path: Written to from the first report on; what stands there stays.
    """

    is_recorded, should_stop = True, False

    def __init__(self, path: Path) -> None:
        self._path = path

    def report(self, report: Report) -> None:
        """Write one report."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(report._asdict()) + "\n")

    def flush(self) -> None:
        """Nothing is left to write."""


def _line(worker: socket) -> bytes:
    try:
        return read_line(worker)
    except ConnectionError as error:
        raise LedgerUnavailableError("the worker of this trial is gone") from error


def _heed(word: bytes) -> None:
    if refusal := json.loads(word):
        raise rebuilt(refusal)
