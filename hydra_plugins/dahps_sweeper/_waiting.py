"""Waiting for the workers, without trusting the launcher to return."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from hydra_plugins.dahps_sweeper._launch import Launch
from hydra_plugins.dahps_sweeper._watch import Watch

log = logging.getLogger(__name__)

#: Seconds between two looks at the ledger.
POLL_S = 1.0
#: Seconds that the launcher may take to notice that its workers are gone.
RETURN_GRACE_S = 20.0
#: Seconds between two questions to a scheduler, which serves all users of its cluster.
QUERY_EVERY_S = 60.0


def wait_for_workers(launch: Launch, watch: Watch, doubt: Doubt, each_change: Callable[[], None]) -> bool:
    """Wait until the launchers have returned, or no worker lives and none will come.

    That no worker lives is no end by itself: jobs that were preempted, or have not started yet, wait in the
    queue of the batch system. Where the search is over, jobs may outlive this.

    Args:
        launch: Started.
        watch: Of the multirun.
        doubt: About the multirun's jobs.
        each_change: Called when the ledger has changed.

    Returns:
        Whether the jobs are gone, though no launcher has reported it, and the search is not over.
    """
    pause = threading.Event()
    while True:
        returned = launch.returned(POLL_S)
        if watch.look():
            each_change()
        if returned and (launch.ends_together or not launch.error):
            return False
        if watch.any_alive():
            doubt.ends()
        elif watch.is_over:
            break
        elif doubt.no_worker_will_start(watch.progress.n_left, returned):
            return True
        if returned:
            pause.wait(POLL_S)
    if not launch.returned(RETURN_GRACE_S):
        log.info("The search has ended; queued workers exit when they start.")
    return False


class Doubt:
    """No worker lives, though trials are left: whether one will come.

    Args:
        jobs_in_queue: Queries the scheduler for how many jobs of the multirun exist, by their states;
            None where that is unknown. None without a batch system; then only the launcher knows.
        lease_s: For this time, or until the scheduler can be queried, nothing is doubted: jobs take their
            time to start and to end.
    """

    def __init__(
        self,
        jobs_in_queue: Callable[[], Counter[str] | None] | None,
        lease_s: float,
    ) -> None:
        self._jobs_in_queue = jobs_in_queue
        self._patience_s = min(lease_s, QUERY_EVERY_S)
        self._said = ""
        self._since: float | None = None
        self._queried_at = float("-inf")

    def ends(self) -> None:
        """Note that a worker is alive."""
        self._since = None
        self._said = ""

    def no_worker_will_start(self, left: int, returned: bool) -> bool:
        """Return whether no worker will start; otherwise print the scheduler's information, once.

        Args:
            left: How many trials are left.
            returned: Whether all launchers have returned, if only with an error.
        """
        if self._jobs_in_queue is None and returned:
            return True
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        patience_s = 0.0 if returned else self._patience_s
        if now < max(self._since + patience_s, self._queried_at + QUERY_EVERY_S):
            return False
        self._queried_at = now
        jobs = self._jobs_in_queue() if self._jobs_in_queue else None
        if jobs is None:
            silence = "SLURM reports no state for the jobs yet; " if self._jobs_in_queue else ""
            self._report(left, f"{silence}waiting for the launcher")
            return returned
        if jobs:
            self._report(left, f"jobs: {', '.join(f'{count} {kind}' for kind, count in jobs.most_common())}")
        return not jobs

    def _report(self, left: int, what: str) -> None:
        line = f"No worker is alive, {left} {'trial is' if left == 1 else 'trials are'} left; {what}"
        if line != self._said:
            log.info("%s", line)
            self._said = line
