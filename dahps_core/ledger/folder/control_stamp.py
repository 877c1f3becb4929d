"""The file that notifies running workers of a person's command: reading it costs little."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from dahps_core.ledger.sqlite.storage_errors import fresh_stamp, put_in_place, refused

FILE_NAME = "notices"

#: A storage that stamps its files more coarsely than in seconds is not waited for.
_LONGEST_S = 3.0
_PAUSE_S = 0.002


def notice(folder: Path) -> int | None:
    """Return an opaque stamp, which each command changes; None if there was none.

    Raises:
        OSError: The storage refused.
    """
    return fresh_stamp(folder / FILE_NAME)


def give_notice(folder: Path) -> None:
    """Make running workers read the commands in the ledger, which are recorded already.

    Raises:
        LedgerUnavailableError: The storage refused.
    """
    path = folder / FILE_NAME
    before, end = None, time.monotonic() + _LONGEST_S
    with suppress(OSError):  # something else may be there, a socket for example: it is replaced
        before = notice(folder)
    try:
        put_in_place(path)
        while notice(folder) == before and time.monotonic() < end:  # two in one tick of the storage's clock
            time.sleep(_PAUSE_S)
            put_in_place(path)
    except OSError as error:
        also = ". The command is recorded, but running workers see it only after their trials"
        raise refused(path, error, also) from error
