"""Launching the workers, by the launcher that the user chose."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence

from hydra.plugins.launcher import Launcher

from hydra_plugins.dahps_sweeper._launchers import is_done


class Launch:
    """The calls of `launcher.launch` of one multirun, each in a thread if its jobs run elsewhere.

    A launcher returns when its last job has ended, and submitit learns of a killed job up to ten minutes
    late; what became of the search stands in the ledger long before.

    Args:
        parts: Launchers of their own, each with the numbers of the workers that it launches.

    Attributes:
        n_workers: How many are launched in all.
        error: What a launcher or a worker raised first.
        endings: Why workers ended, as far as launchers have told.
    """

    def __init__(self, parts: Sequence[tuple[Launcher, range]]) -> None:
        self.n_workers = sum(len(numbers) for _, numbers in parts)
        self.error: Exception | None = None
        self.endings: Counter[str] = Counter()
        self._parts = parts
        self._threads = [
            threading.Thread(target=self._run, args=part, name="dahps-launch", daemon=True) for part in parts
        ]

    def start(self) -> None:
        """Launch in threads."""
        for thread in self._threads:
            thread.start()

    def returned(self, timeout_s: float) -> bool:
        """Whether all launchers have returned, after at most `timeout_s` seconds."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def run(self) -> None:
        """Launch here, until the workers have ended."""
        for part in self._parts:
            self._run(*part)

    def _run(self, launcher: Launcher, numbers: range) -> None:
        overrides = [[f"worker={number}"] for number in numbers]
        try:
            for job_return in launcher.launch(overrides, initial_job_idx=numbers.start):
                if job_return is None:
                    raise RuntimeError("its job failed; what is known of it, rq's worker has logged")
                # What a worker returned is the reason for its end; what it raised is raised here.
                self.endings[str(job_return.return_value)] += 1
        except Exception as error:
            if not is_done(error):
                self.error = self.error or error
