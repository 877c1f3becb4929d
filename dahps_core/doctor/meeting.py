"""Where processes of several hosts meet: a folder of the storage that is tried out, and nothing else.

It requires little of the storage, so that one with faults is still diagnosed: that others see, sooner or
later, a file that was made; no locks, no clocks, no names that two of them would make.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dahps_core.errors import LedgerError, LedgerUnavailableError
from dahps_core.text.json_text import parse_json
from dahps_core.text.small_files import read_text

#: Between two looks, in seconds.
SHORTEST_PAUSE_S = 0.002
LONGEST_PAUSE_S = 0.05
#: After this many seconds without success a waiter changes the folder itself: a host that keeps the folder's
#: listing in a cache then contacts the file server.
POKE_AFTER_S = 2.0


class Meeting:
    """One participant's view of the meeting.

    Args:
        folder: For all of them.
        number: The participant's, from 0.
        size: How many there are.
        names: What to call them in an error.
    """

    def __init__(self, folder: Path, number: int, size: int, names: Callable[[int], str]) -> None:
        self._folder = folder
        self._number = number
        self._size = size
        self._names = names

    def arrive(self, step: str, report: Any = None) -> None:
        """Report to the others that this participant has done a step, and what it saw."""
        path = self._folder / f"{step}.{self._number}"
        if report is None:
            path.touch()
            return
        unfinished = path.with_name(f"{path.name}.unfinished")
        with open(unfinished, "w", encoding="utf-8") as file:
            json.dump(report, file)
        os.rename(unfinished, path)

    def await_all(self, step: str, limit_s: float, while_waiting: Callable[[], None] = lambda: None) -> None:
        """Wait until all have done the step; raises if one of them has not within the limit, in seconds."""
        now = time.monotonic()
        deadline, poke_at, pause = now + limit_s, now + POKE_AFTER_S, SHORTEST_PAUSE_S
        while missing := self._missing(step):
            now = time.monotonic()
            if now > deadline:
                raise self._too_late(missing, step, limit_s)
            if now > poke_at:
                self._poke()
                poke_at = time.monotonic() + POKE_AFTER_S
            while_waiting()
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def report(self, step: str, number: int = 0) -> Any:
        """Return what a participant reported after a step that all have done; None if nothing."""
        text = read_text(self._folder / f"{step}.{number}")
        return parse_json(text) if text else None

    def report_if_any(self, step: str, number: int) -> Any:
        """Return the same, also before all have done the step; None while there is nothing."""
        with suppress(FileNotFoundError):
            return self.report(step, number)
        return None

    def reports(self, step: str) -> list[Any]:
        """Return the reports of all."""
        return [self.report(step, number) for number in range(self._size)]

    def _missing(self, step: str) -> list[int]:
        # Listed, not looked up one by one: that a name is missing is kept in caches for longer.
        try:
            there = set(os.listdir(self._folder))
        except FileNotFoundError:
            raise ended_by_another(self._folder) from None
        return [number for number in range(self._size) if f"{step}.{number}" not in there]

    def _poke(self) -> None:
        with suppress(OSError):
            path = self._folder / f"poke.{self._number}"
            path.touch()
            path.unlink()

    def _too_late(self, missing: list[int], step: str, limit_s: float) -> LedgerUnavailableError:
        names = ", ".join(map(self._names, missing[:8])) + (", ..." if len(missing) > 8 else "")
        return LedgerUnavailableError(
            f"{len(missing)} of {self._size} processes did not arrive within {limit_s:g} s"
            f" (step '{step}'): {names}",
            where=str(self._folder.parent),
            hint="See whether all were started, and whether this is one and the same folder on all hosts; "
            "--wait SECONDS waits longer for those that start late",
        )


def ended_by_another(folder: Path) -> LedgerError:
    """Return the error of a participant whose folder another one removed."""
    return LedgerError(
        "the doctor was ended by another of its processes",
        where=str(folder),
        hint="Its own error, on another host perhaps, says why",
    )
