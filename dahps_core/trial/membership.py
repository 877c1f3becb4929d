"""Which attempt a process belongs to, however it was started: spawned, by a fork server, as a program.

The process that owns an attempt puts an environment variable into those that the trial starts. It names the
private folder of the attempt, where a socket answers for as long as the attempt lasts; see `host`.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dahps_core.errors import AttemptOver, ConfigurationError, LedgerUnavailableError, rebuilt

#: Of the processes of a trial. Processes of multiprocessing carry it in their configuration as well: a fork
#: server has the environment of an earlier time.
VARIABLE = "DAHPS_TRIAL"
#: In the attempt's folder.
SOCKET, FLAGS = "socket", "flags"

ADVICE = f"For a search or a run of its own, start the process without the variable: unset {VARIABLE}"


@dataclass(frozen=True)
class Attempt:
    """One attempt of a trial, as its processes find it.

    Attributes:
        number: The trial's.
        attempt: Which of its executions.
        host: Where its processes run.
        folder: The attempt's own; None if none could be made.
    """

    number: int
    attempt: int
    host: str
    folder: Path | None

    def __str__(self) -> str:
        return f"{self.number}:{self.attempt}:{self.host}:{self.folder or ''}"

    @classmethod
    def of_this_process(cls) -> Attempt | None:
        """Return the attempt that this process was started in; None outside of a trial."""
        # Not imported: a process that multiprocessing started has it.
        processes = sys.modules.get("multiprocessing.process")
        carried = processes and processes.current_process()._config.get(VARIABLE)
        text = carried or os.environ.get(VARIABLE)
        if not text:
            return None
        number, attempt, host, folder = [*text.split(":", 3), "", "", ""][:4]
        if not (number.isdecimal() and attempt.isdecimal()):
            raise ConfigurationError(f"{text!r} identifies no trial", where=VARIABLE, hint=ADVICE)
        return cls(int(number), int(attempt), host, Path(folder) if folder else None)

    def request(self, what: str, **details: Any) -> Any:
        """Request something of the process that owns the attempt.

        Raises:
            AttemptOver: The attempt has ended.
            DahpsError: The owner could not do it.
        """
        message = json.dumps({"what": what, **details}).encode() + b"\n"
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(os.fspath(self._folder() / SOCKET))
            except OSError as error:
                raise self._over() from error
            try:
                connection.sendall(message)
                line = read_line(connection)
            except ConnectionError as error:
                raise LedgerUnavailableError(
                    f"the worker of trial {self.number} is gone, or the attempt has just ended"
                ) from error
        answer = json.loads(line)
        if description := answer.get("error"):
            raise rebuilt(description)
        return answer["answer"]

    def _folder(self) -> Path:
        if self.folder is None:
            raise ConfigurationError(
                "its worker could not create a socket in the temporary folder, so other processes cannot "
                "take part in the trial",
                where=f"trial {self.number}",
                hint="Make room there, or set TMPDIR to a local folder",
            )
        return self.folder

    def _over(self) -> AttemptOver:
        here = socket.gethostname()
        elsewhere = f", or out of reach: it ran on {self.host}, this is {here}" if here != self.host else ""
        return AttemptOver(
            f"this process was started in attempt {self.attempt} of this trial, which is over{elsewhere}",
            where=f"trial {self.number}",
            hint=ADVICE,
        )


def read_line(connection: socket.socket) -> bytes:
    """Read up to the end of a line; raises ConnectionError if the other side is gone before."""
    line = b""
    while not line.endswith(b"\n"):
        data = connection.recv(65536)
        if not data:
            raise ConnectionResetError("closed by the other side")
        line += data
    return line
