"""Heartbeats: each worker touches a file, and an observer judges it by the changes that it sees.

No two hosts' clocks are ever compared: the file server stamps a touch, and an observer only checks whether
the stamp has changed, over its own monotonic clock.
"""

from __future__ import annotations

import logging
import math
import os
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path

from dahps_core.ledger.sqlite.storage_errors import fresh_stamp, refused

log = logging.getLogger(__name__)

FOLDER_NAME = "heartbeats"


def _beat_file(folder: Path, worker: str) -> Path:
    return folder / FOLDER_NAME / worker


def silent_for_s(folder: Path, worker: str, now_s: float) -> float | None:
    """Return the seconds since a worker's last heartbeat; None if it has no heartbeat file.

    For people to see: a single look may not decide anything.

    Args:
        folder: The ledger's.
        worker: The worker's id.
        now_s: By the clock that has stamped the beat: `storage_time`.
    """
    with suppress(OSError):
        stamp = fresh_stamp(_beat_file(folder, worker))
        return None if stamp is None else max(0.0, now_s - stamp / 1e9)
    return None


class Heart:
    """A worker's own heartbeat; as a context manager it beats once on entering, and stops on leaving.

    Args:
        folder: The ledger's folder.
        worker: The worker's id.
        lease_s: After this time without a heartbeat, others may consider the worker dead.

    Attributes:
        path: The file that it touches.
    """

    def __init__(self, folder: Path, worker: str, lease_s: float = math.inf) -> None:
        self.path = _beat_file(folder, worker)
        self._lease_s = lease_s
        self._last = _now()
        self._has_warned = False

    def beat(self) -> bool:
        """Touch the file. If the storage refuses, the work continues, and the next heartbeat tries again.

        Returns:
            Whether the worker's claim is in doubt: the heartbeat has failed for half a lease, or this is the
            first beat after a full lease, in which others may have taken the trial.
        """
        try:
            self._touch()
        except OSError as error:
            return self._has_failed_for_long(error)
        last, self._last = self._last, _now()
        self._has_warned = False
        return self._last - last > self._lease_s

    def _has_failed_for_long(self, error: OSError) -> bool:
        silent_s = _now() - self._last
        if silent_s < self._lease_s / 2:
            return False
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "%s: no heartbeat could be written for %.0f s (%s). After %g s other workers may rerun this "
                "worker's trial: check that the folder is reachable and writable.",
                self.path.parent,
                silent_s,
                error.strerror or error,
                self._lease_s,
            )
        return True

    def stop(self) -> None:
        """Remove the heartbeat; observers notice after their lease."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    @contextmanager
    def beating(self, every_s: float, look: Callable[[bool], None] = lambda in_doubt: None) -> Iterator[None]:
        """Beat now and at each interval, in a thread that ends with the block.

        Args:
            every_s: Seconds between two beats.
            look: Called by that thread after each beat, with what `beat` has returned. What it raises is
                logged, and the heartbeat continues.
        """
        # Not an Event: where the C library is old, its wait lasts as long as the wall clock says.
        ended, end = Pipe(duplex=False)

        is_over = threading.Event()

        def beat_until_ended() -> None:
            while True:
                in_doubt = self.beat()
                try:
                    look(in_doubt)
                except Exception:
                    log.exception("The claim could not be checked. The heartbeat continues.")
                if ended.poll(every_s):
                    if is_over.is_set():
                        return
                    os.read(ended.fileno(), 2**16)  # a trial has written there by mistake

        thread = threading.Thread(target=beat_until_ended, name="heartbeat", daemon=True)
        thread.start()
        with ended, end:
            try:
                yield
            finally:
                is_over.set()
                end.send_bytes(b"end")
                thread.join()

    def __enter__(self) -> Heart:
        try:
            self._touch()
        except OSError as error:
            # Without a visible heartbeat, others would rerun its trials.
            raise refused(self.path.parent, error) from error
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _touch(self) -> None:
        try:
            os.utime(self.path)  # without times, so that the file server stamps it with its own clock
        except FileNotFoundError:
            # Without parents: where a storage is gone, no ledger's folder is made in its place.
            self.path.parent.mkdir(exist_ok=True)
            self.path.touch()
            with suppress(OSError):
                self.path.chmod(0o644)  # whatever the umask: other users' workers observe it by opening it


@dataclass
class _Watched:
    """An observer's facts about one worker; times by the observer's clock, in seconds.

    Attributes:
        stamp: The last modification time that was seen, in ns; None while there was no file.
        looked_at: When the file was last looked at.
        silent_s: For how long the stamp was seen not to change.
        has_beaten: Whether the stamp was ever seen to change.
    """

    stamp: int | None
    looked_at: float
    silent_s: float = 0.0
    has_beaten: bool = False


class Observer:
    """Judges workers by its own observations of their heartbeats.

    Args:
        folder: The ledger's folder.
        lease_s: After this time without a change a worker is considered dead.
        clock: A monotonic clock, in seconds.
        most: How many workers to look at in one look; None: all of them.
    """

    def __init__(
        self,
        folder: Path,
        lease_s: float,
        clock: Callable[[], float] = time.monotonic,
        most: int | None = None,
    ) -> None:
        self._folder = folder
        self._lease_s = lease_s
        self._clock = clock
        self._most = most
        self._watched: dict[str, _Watched] = {}

    def look(self, workers: Collection[str]) -> None:
        """Look at these workers, and forget all others. A file that cannot be read now shows nothing.

        Workers beyond `most` are looked at in turn. Those that were silent at their last look come first, in
        up to half of a look, so that a death is noticed after a lease and three rounds at the latest.
        """
        workers = set(workers)
        self._watched = {worker: seen for worker, seen in self._watched.items() if worker in workers}
        for worker in self._next(workers):
            with suppress(OSError):
                self._note(worker, fresh_stamp(_beat_file(self._folder, worker)))

    def _next(self, workers: Collection[str]) -> Collection[str]:
        if self._most is None or len(workers) <= self._most:
            return workers
        # In random order at first, so that many observers do not begin with the same workers.
        turn = sorted(random.sample(sorted(workers), len(workers)), key=self._looked_at)
        silent = [worker for worker in turn if worker in self._watched and self._watched[worker].silent_s]
        return list(dict.fromkeys([*silent[: self._most // 2], *turn]))[: self._most]

    def _looked_at(self, worker: str) -> float:
        seen = self._watched.get(worker)
        return seen.looked_at if seen else -math.inf

    def dead(self) -> set[str]:
        """Return the workers without a heartbeat for a whole lease; empty unless the last look is fresh."""
        return {worker for worker, seen in self._fresh() if seen.silent_s >= self._lease_s}

    def alive(self) -> set[str]:
        """Return the workers with a heartbeat within the lease; empty unless the last look is fresh."""
        return {worker for worker, seen in self._fresh() if seen.has_beaten and seen.silent_s < self._lease_s}

    def _fresh(self) -> list[tuple[str, _Watched]]:
        # Between two looks the observer may have worked for hours: what it knew then holds no longer.
        now = self._clock()
        return [
            (worker, seen) for worker, seen in self._watched.items() if now - seen.looked_at < self._lease_s
        ]

    def _note(self, worker: str, stamp: int | None) -> None:
        now = self._clock()
        seen = self._watched.setdefault(worker, _Watched(stamp, now))
        if stamp is not None and stamp != seen.stamp:
            seen.stamp, seen.silent_s, seen.has_beaten = stamp, 0.0, True
        else:
            # A long gap is no long silence: the storage may have hung, or the observer been stopped, and
            # the others with it. So it takes several looks to hold a worker for dead.
            seen.silent_s += min(now - seen.looked_at, self._lease_s / 2)
        seen.looked_at = now


def _now() -> float:
    # Unlike the monotonic clock this one runs while the machine sleeps, as the others' do.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
