"""How long to wait: for others as long as they make progress, and a while longer; for the storage a while."""

from __future__ import annotations

import os
import random
import time
from contextlib import suppress
from pathlib import Path

SHORTEST_PAUSE_S = 0.001
LONGEST_PAUSE_S = 0.05  # jitter with this cap: p99 of a claim among 64 idle-ish processes was 0.1 s


class Patience:
    """Waits for `limit_s`, or until no one has written for that long.

    Among hundreds of writers on storage that takes seconds for each, a turn may come late and nothing be
    wrong.

    Args:
        limit_s: How long to wait, in seconds.
        others_write: The database, to wait while others write there: it and its journal are modified.
        longest_pause_s: Between two tries.
    """

    def __init__(
        self, limit_s: float, others_write: Path | None = None, longest_pause_s: float = LONGEST_PAUSE_S
    ) -> None:
        self._limit_s = limit_s
        self._path = others_write
        self._longest_pause_s = longest_pause_s
        self._pause_s = SHORTEST_PAUSE_S
        self._since = time.monotonic()
        self._seen: list[int] | None = None

    def has_ended(self) -> bool:
        """Return whether the patience is used up."""
        if self._seen is None:
            self._seen = self._stamps()
        if time.monotonic() - self._since <= self._limit_s:
            return False
        seen, self._seen = self._seen, self._stamps()
        if self._seen == seen:
            return True
        self._since = time.monotonic()
        return False

    def pause(self) -> None:
        """Sleep between two tries for a random time, so that colliding processes do not collide again."""
        time.sleep(random.uniform(0, self._pause_s))
        self._pause_s = min(2 * self._pause_s, self._longest_pause_s)

    def _stamps(self) -> list[int]:
        stamps: list[int] = []
        if self._path is None:
            return stamps
        for path in (self._path, f"{self._path}-journal"):
            with suppress(OSError):
                stamps.append(os.stat(path).st_mtime_ns)
        return stamps
