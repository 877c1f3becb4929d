"""What one process writes, others see: whole, soon, and never an older state than before."""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dahps_core.doctor.member import Check

#: A worker, with a heartbeat every 15 s, is considered dead when none is seen for the lease, 120 s.
#: So no change may take longer than this to be seen, in seconds.
LONGEST_DELAY_S = 105.0
#: Between two versions, in seconds.
PAUSE_S = 0.002
#: After this many seconds without a change a reader checks whether the writer has failed.
PATIENCE_S = 1.0
#: A record fills its file by repetition, so that a mixture of two versions is seen; the size is that of
#: several pages.
_REPETITIONS = 682
_RECORD = struct.Struct("<QQQ")
_WORD = struct.Struct("<Q")
_WORDS = 512


class Seeing(Check):
    """In each rank the first process writes; its others read, each what another rank writes.

    For each version the writer rewrites one file in place and syncs it, touches another, and then replaces a
    third that names the version: who has read that name opens the first file later than it was closed.
    """

    name = "seeing"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._is_writer = self.me.index == 0
        rank = (self.me.rank + self.me.index) % self.me.ranks
        self._writer = rank * self.me.per_rank
        self._rewritten, self._touched, self._replaced = (
            self.me.folder / f"{name}.{rank}" for name in ("rewritten", "touched", "replaced")
        )

    def prepare(self) -> None:
        """Create the writer's files."""
        if self._is_writer:
            self._touched.touch()
            self._write(0, is_last=False)

    def run(self) -> dict[str, Any]:
        """Return a writer's longest pause, or what a reader saw."""
        if self._is_writer:
            return self._write_versions()
        reader = _Reader(self._rewritten, self._touched, self._replaced)
        return reader.read_until_last(self._has_writer_failed)

    def _has_writer_failed(self) -> bool:
        report = self.me.meeting.report_if_any(self.name, self._writer)
        return report is not None and "error" in report

    def _write_versions(self) -> dict[str, Any]:
        longest, before = 0.0, time.monotonic()
        version = 0
        for _ in self.me.rounds(at_least=2):
            version += 1
            self._write(version, is_last=False)
            longest, before = max(longest, time.monotonic() - before), time.monotonic()
            time.sleep(PAUSE_S)
        self._write(version + 1, is_last=True)
        return {"versions": version + 1, "pause_s": max(longest, time.monotonic() - before)}

    def _write(self, version: int, *, is_last: bool) -> None:
        with open(self._rewritten, "r+b" if version else "wb", buffering=0) as file:
            file.write(_WORD.pack(version) * _WORDS)
            os.fsync(file.fileno())
        os.utime(self._touched)
        record = _RECORD.pack(version, is_last, self._touched.stat().st_mtime_ns)
        unfinished = self._replaced.with_suffix(f"{self._replaced.suffix}.unfinished")
        with open(unfinished, "wb", buffering=0) as file:
            file.write(record * _REPETITIONS)
        os.replace(unfinished, self._replaced)


class _Reader:
    """Sees the files of one writer."""

    def __init__(self, rewritten: Path, touched: Path, replaced: Path) -> None:
        self._rewritten = rewritten
        self._touched = touched
        self._replaced = replaced
        self._contents = _Changes()
        self._stamps = _Changes()
        self._seen: dict[str, int] = {"reads": 0, "broken": 0, "stale": 0, "repeated": 0}

    def read_until_last(self, has_writer_failed: Callable[[], bool]) -> dict[str, Any]:
        """Read until the last version is seen, or none for too long."""
        has_ended = False
        while not (has_ended or self._contents.is_overdue() or self._stamps.is_overdue()):
            has_ended = self._read()
            if self._contents.silent_s() > PATIENCE_S and has_writer_failed():
                break
            time.sleep(PAUSE_S / 2)
        return {
            **self._seen,
            "has_ended": has_ended,
            "content_s": self._contents.longest_s,
            "stamp_s": self._stamps.longest_s,
            "backwards": self._contents.backwards,
            "stamp_backwards": self._stamps.backwards,
        }

    def _read(self) -> bool:
        """Read once; return whether everything has been seen."""
        try:
            data = self._replaced.read_bytes()
        except OSError as error:
            # NFS: the old file was removed on the server while it was read; opened again, it is the new one.
            self._seen["repeated" if error.errno == errno.ESTALE else "broken"] += 1
            return False
        self._seen["reads"] += 1
        record = data[: _RECORD.size]
        if data != record * _REPETITIONS:
            self._seen["broken"] += 1
            return False
        version, is_last, stamp = _RECORD.unpack(record)
        self._contents.note(version)
        self._read_rewritten(version)
        is_fresh = self._read_stamp() >= stamp
        return bool(is_last) and is_fresh

    def _read_rewritten(self, version: int) -> None:
        data = self._rewritten.read_bytes()
        words = [_WORD.unpack_from(data, offset)[0] for offset in range(0, len(data) - 7, _WORD.size)]
        # It may be rewritten just now; but what was there when the version was named must be there.
        if len(words) != _WORDS or min(words) < version:
            self._seen["stale"] += 1

    def _read_stamp(self) -> int:
        # Opened, since `stat` alone may be cached: as the observers of heartbeats do.
        with open(self._touched, "rb") as file:
            stamp = os.fstat(file.fileno()).st_mtime_ns
        self._stamps.note(stamp)
        return stamp


class _Changes:
    """How long, at most, nothing new was seen, and how often something older."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.backwards = 0
        self._last: int | None = None
        self._since = time.monotonic()

    def note(self, value: int) -> None:
        """Note what is seen now."""
        if value == self._last:
            return
        now = time.monotonic()
        if self._last is not None:
            self.backwards += value < self._last
            self.longest_s = max(self.longest_s, now - self._since)
        self._last, self._since = value, now

    def silent_s(self) -> float:
        """Return for how long nothing new has been seen."""
        return time.monotonic() - self._since

    def is_overdue(self) -> bool:
        """Return whether the next change is overdue."""
        return self.silent_s() > LONGEST_DELAY_S
