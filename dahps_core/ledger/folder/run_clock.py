"""How long a multirun has been at work, by the storage's clock alone: hosts' clocks differ."""

from __future__ import annotations

import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from dahps_core.ledger.sqlite.storage_errors import fresh_stamp, refused

FOLDER_NAME = "runs"


def file_of_run(folder: Path, run: str) -> Path:
    """Return the path of a multirun's own file in the ledger's folder, named by the batch system's or the
    user's name.
    """
    return folder / FOLDER_NAME / sha256(run.encode(errors="surrogateescape")).hexdigest()[:16]


def began_at(folder: Path, run: str) -> float | None:
    """Return when a multirun's clock started, in seconds by the storage's clock; None if it has not."""
    with suppress(OSError):
        stamp = fresh_stamp(file_of_run(folder, run))
        return None if stamp is None else stamp / 1e9
    return None


class RunClock:
    """The clock of one multirun: it goes from when the first of its workers began.

    Args:
        folder: The ledger's folder.
        run: The multirun.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self._beginning = file_of_run(folder, run)
        self._here_since = time.monotonic()

    def start(self) -> None:
        """Let the clock go, unless it does.

        Raises:
            LedgerUnavailableError: The storage refused.
        """
        try:
            self._beginning.parent.mkdir(exist_ok=True)
            # Never touched again: its stamp is the beginning.
            with suppress(FileExistsError), self._beginning.open("x"):
                self._beginning.chmod(0o644)  # whatever the umask: other users' workers read it
        except OSError as error:
            raise refused(self._beginning, error) from error

    def elapsed_s(self, touched: Path) -> float:
        """Return the seconds from the start until a file was touched; by this process's clock if the storage
        refuses.

        Args:
            touched: On the same storage, which has stamped both.
        """
        with suppress(OSError):
            began, now = fresh_stamp(self._beginning), fresh_stamp(touched)
            if began is not None and now is not None:
                return (now - began) / 1e9
        return time.monotonic() - self._here_since
