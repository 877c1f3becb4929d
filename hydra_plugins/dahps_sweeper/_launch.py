"""Launching the workers, and waiting for them without trusting the launcher to return."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from hydra.plugins.launcher import Launcher

from dahps_core.heartbeat import Observer
from dahps_core.ledger import Ledger
from dahps_core.worker import WorkerOptions

log = logging.getLogger(__name__)

#: Seconds between two looks at the ledger.
POLL_S = 2.0
#: Seconds that the launcher may take to notice that its workers are gone.
RETURN_GRACE_S = 20.0


class Launch:
    """One call of `launcher.launch`, in a thread if the launcher's jobs run elsewhere.

    A launcher returns when its last job has ended, and submitit learns of a killed job up to ten minutes
    late; what became of the search stands in the ledger long before.

    Attributes:
        error: What the launcher or a worker raised, in the end.
    """

    def __init__(self, launcher: Launcher, n_workers: int) -> None:
        self.n_workers = n_workers
        self.error: Exception | None = None
        self._launcher = launcher
        self._thread = threading.Thread(target=self.run, name="dahps-launch", daemon=True)

    def start(self) -> None:
        """Launch in a thread."""
        self._thread.start()

    def returned(self, timeout_s: float) -> bool:
        """Whether the launcher has returned, after at most `timeout_s` seconds."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def run(self) -> None:
        """Launch here, until the workers have ended."""
        overrides = [[f"worker={number}"] for number in range(self.n_workers)]
        try:
            for job_return in self._launcher.launch(overrides, initial_job_idx=0):
                _ = job_return.return_value  # raises what the worker raised
        except Exception as error:
            self.error = error


def wait_for_workers(
    launch: Launch, ledger: Ledger, run: str, options: WorkerOptions, each_poll: Callable[[], None]
) -> None:
    """Wait until every worker of the run is gone, or the search has ended and the others are late.

    Args:
        launch: Started.
        ledger: Read only.
        run: The multirun's id.
        options: Those of the workers.
        each_poll: Called every few seconds.
    """
    watch = _Watch(ledger, run, options)
    pause = threading.Event()
    while True:
        returned = launch.returned(POLL_S)
        each_poll()
        if returned and not launch.error:
            return
        registered, alive = watch.workers()
        nothing_left = not ledger.remaining(options.max_trials, options.max_attempts)
        if not alive and (launch.error or registered == launch.n_workers or nothing_left):
            break
        if returned:
            pause.wait(POLL_S)
    if not launch.returned(RETURN_GRACE_S):
        log.info("The search has ended; workers that are still queued will leave as soon as they start.")


class _Watch:
    """Which workers of a run live; looks at their signs of life no more often than they give any."""

    def __init__(self, ledger: Ledger, run: str, options: WorkerOptions) -> None:
        self._ledger = ledger
        self._run = run
        self._every_s = options.heartbeat_s
        self._observer = Observer(ledger.folder, options.lease_s)
        self._next_look = 0.0

    def workers(self) -> tuple[int, int]:
        """How many have registered, and how many of them may be alive."""
        workers = self._ledger.workers(self._run)
        present = [worker.id for worker in workers if worker.ended_at is None]
        if time.monotonic() >= self._next_look:
            self._observer.look(present)
            self._next_look = time.monotonic() + self._every_s
        return len(workers), len(set(present) - self._observer.dead())
