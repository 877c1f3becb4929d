"""The reports of a running attempt, on their way to the ledger."""

from __future__ import annotations

import json
import os
import socket
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from dahps_core.environment.launchers import rank_in_trial, rank_variables
from dahps_core.errors import LedgerError, LedgerUnavailableError, described, rebuilt
from dahps_core.model.records import Report
from dahps_core.strategies.stopping import Stopper
from dahps_core.text.json_lines import Lines
from dahps_core.text.json_text import parse_json
from dahps_core.trial.membership import Attempt

#: Bytes of the longest report of a child.
_LONGEST = 4096


class History:
    """The reports of one attempt, kept in memory until they are written.

    A forked child sends its worker each report at once, so that the trial's death loses none of them; its
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
        self._lines = Lines(_LONGEST)
        self._worker: socket.socket | None = None
        self._writing = threading.Lock()
        self._process = os.getpid()
        self._ranks = rank_variables()
        _histories.add(self)

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
        elif self._worker:
            _request_flush(self._worker)
        else:
            with self._writing:
                rest = self.rest
                self._write(rest)
                del self._kept[: len(rest)]

    def send_to(self, worker: socket.socket) -> None:
        """Send everything to the worker from now on, in a forked child."""
        self._worker = worker
        self._process = os.getpid()

    def take_in(self, data: bytes) -> None:
        """Take in what came from the child, in the worker.

        Raises:
            ValueError: Something else than reports came; those before it are kept.
        """
        for line in self._lines.take_in(data):
            if line:  # an empty one comes with a request to flush
                report = _report(line)
                self._judge(report)
                self._kept.append(report)

    def flush_for_child(self, reply_to: int) -> None:
        """Flush for the child, in the worker, and write to its pipe `reply_to` whether that was refused."""
        refusal = None
        try:
            self.flush()
        except LedgerError as error:
            refusal = described(error)
        with suppress(OSError):  # it is gone, or the pipe is none
            os.set_blocking(reply_to, False)
            os.write(reply_to, json.dumps(refusal).encode() + b"\n")

    def _judge(self, report: Report) -> None:
        self.last = report.metric
        if self._stopper:
            self._stopper.take(*report)

    def _elsewhere(self) -> RemoteHistory | None:
        """Return the way to the owner's history, in a process that was forked from the trial's own."""
        attempt = None if os.getpid() == self._process else Attempt.of_this_process()
        return RemoteHistory(attempt, self._ranks) if attempt else None


_histories: weakref.WeakSet[History] = weakref.WeakSet()


def _unlock() -> None:
    """Unlock in a forked process: a thread that was writing does not exist there."""
    for history in _histories:
        history._writing = threading.Lock()


os.register_at_fork(after_in_child=_unlock)


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
        path: Appended to from the first report on.
    """

    is_recorded, should_stop = True, False

    def __init__(self, path: Path) -> None:
        self._path = path

    def report(self, report: Report) -> None:
        """Write one report."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(report._asdict()) + "\n")

    def flush(self) -> None:
        """Write everything that is left."""


def _request_flush(worker: socket.socket) -> None:
    """Have the worker write what was reported so far.

    The answer comes by a pipe of this request's own: processes that a trial forks share the socket, and would
    read each other's answers.
    """
    answer, reply_to = os.pipe()
    with open(answer, "rb") as answers:
        try:
            socket.send_fds(worker, [b"\n"], [reply_to])
        except OSError as error:
            raise LedgerUnavailableError(f"the worker of this trial cannot be reached: {error}") from error
        finally:
            os.close(reply_to)
        word = answers.readline()
    if not word:
        raise LedgerUnavailableError("the worker of this trial is gone")
    _heed(word)


def _heed(word: bytes) -> None:
    if refusal := json.loads(word):
        raise rebuilt(refusal)


def _report(line: bytes) -> Report:
    told = parse_json(line.decode())
    if isinstance(told, list) and len(told) == 2:
        step, metric = told
        if isinstance(step, int) and 0 <= step < 2**63 and isinstance(metric, float):
            return Report(int(step), metric)
    raise ValueError("no report")
