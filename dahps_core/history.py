"""What an attempt tells of itself while it runs, on its way to the ledger."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from socket import socket

from dahps_core import errors
from dahps_core.errors import DahpsError, LedgerError, LedgerUnavailableError
from dahps_core.trial import Report

#: What a child sends in place of a report when it asks its worker to write.
_FLUSH = b"null\n"


class History:
    """What one attempt has told, kept in memory until it is written.

    A forked child tells its worker each report at once, so that the trial's death loses none of them; its
    worker's death loses those since the last `flush`.

    Args:
        write: Records reports in the ledger, in the name of the attempt's claim.

    Attributes:
        last: The metric that was reported last; None without one.
    """

    def __init__(self, write: Callable[[Sequence[Report]], None]) -> None:
        self._write = write
        self._kept: list[Report] = []
        self.last: float | None = None
        self._unfinished = b""
        self._worker: socket | None = None
        self._asking = threading.Lock()

    @property
    def rest(self) -> tuple[Report, ...]:
        """What is not written yet, oldest first; for the attempt's `Ending`."""
        return tuple(self._kept)

    def report(self, report: Report) -> None:
        """Take one report; no access to the storage."""
        self.last = report.metric
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
        if self._worker:
            with self._asking:
                self._worker.sendall(_FLUSH)
                _heed(_line(self._worker))
        else:
            rest = self.rest
            self._write(rest)
            del self._kept[: len(rest)]

    def tell(self, worker: socket) -> None:
        """In a forked child: from now on all goes to the worker at the other end."""
        self._worker = worker

    def take_in(self, data: bytes) -> int:
        """In the worker: take in what came from the child; returns how often it asks for a flush."""
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        told = [json.loads(line) for line in lines]
        self._kept += [Report(*report) for report in told if report is not None]
        return told.count(None)

    def flush_for_child(self) -> bytes:
        """In the worker: flush; the word that the child waits for."""
        try:
            self.flush()
        except LedgerError as error:
            return json.dumps([type(error).__name__, error.what, error.where, error.mend]).encode() + b"\n"
        return b"null\n"


class HistoryFile:
    """The history of a run outside of a search: a file with a line of JSON for each report.

    Args:
        path: Written to from the first report on; what stands there stays.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def report(self, report: Report) -> None:
        """Write one report."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(report._asdict()) + "\n")

    def flush(self) -> None:
        """Nothing is left to write."""


def _line(worker: socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        data = worker.recv(65536)
        if not data:
            raise LedgerUnavailableError("the worker of this trial is gone")
        line += data
    return line


def _heed(word: bytes) -> None:
    refusal = json.loads(word)
    if refusal:
        kind, what, where, mend = refusal
        error: type[DahpsError] = getattr(errors, kind, LedgerUnavailableError)  # or of a kind within
        raise error(what, where=where, mend=mend)
