"""Leaving a search that continues without the sweeper: by `detach=true`, or by Ctrl-C."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress

from dahps_core.errors import LedgerError
from dahps_core.ledger import Ledger
from dahps_core.text.printing import pasted
from hydra_plugins.dahps_sweeper._launch import Launch
from hydra_plugins.dahps_sweeper._submission import Submission

log = logging.getLogger(__name__)

#: Seconds in which a second Ctrl-C stops the workers.
SECOND_CTRL_C_S = 10.0
#: Seconds that workers take to leave, beyond the grace that their trials have.
LEAVE_S = 5.0
#: Seconds between two looks for the files of submitted jobs, or for the ends of workers.
POLL_S = 0.2


def wait_until_submitted(launch: Launch, submission: Submission) -> None:
    """Wait until all jobs have been submitted, or the launcher has failed."""
    while not launch.returned(POLL_S) and len(submission.jobs()) < launch.n_workers:
        pass


def let_go(ledger: Ledger, n_workers: int, batches: Sequence[str], again: str) -> None:
    """Say how to continue with submitted workers.

    Args:
        ledger: The search's.
        n_workers: How many were submitted.
        batches: The ids of SLURM's jobs, if they are any.
        again: The command to continue, in words.
    """
    log.info(
        "%d workers are submitted, and run without this process.\n%s\n"
        "optimization_results.yaml is not written yet; when they are done, %s writes it.",
        n_workers,
        _ways_on(ledger, batches),
        again,
    )


def let_go_or_stop(ledger: Ledger, run: str, batches: Sequence[str]) -> None:
    """Let the workers run after a Ctrl-C; stop them at a second one."""
    try:
        log.warning(
            "Interrupted. The workers are jobs of SLURM, and run without this process.\n%s\n"
            "Press Ctrl-C again within %d s to stop the workers of this multirun at once.",
            _ways_on(ledger, batches),
            SECOND_CTRL_C_S,
        )
        time.sleep(SECOND_CTRL_C_S)
    except KeyboardInterrupt:
        stop(ledger, run)


def stop(ledger: Ledger, run: str) -> None:
    """Stop the workers of a multirun, which release their trials."""
    log.warning("Stopped: the workers of this multirun release their trials and exit.")
    with suppress(KeyboardInterrupt):  # one more: it is not waited for a ledger that cannot be written
        try:
            ledger.stop(run=run, now=True)
        except LedgerError as error:
            log.error("%s", error)


def stop_and_wait(ledger: Ledger, run: str, launch: Launch, grace_s: float) -> None:
    """Stop the workers and wait for them: a launcher may kill its workers when this process ends."""
    stop(ledger, run)
    deadline = time.monotonic() + grace_s + LEAVE_S
    with suppress(KeyboardInterrupt, LedgerError):
        while time.monotonic() < deadline and not launch.returned(POLL_S):
            if all(worker.ended_at for worker in ledger.workers(run)):
                break


def _ways_on(ledger: Ledger, batches: Sequence[str]) -> str:
    folder = pasted([str(ledger.folder.absolute())])
    lines = [
        f"  to follow the search: dahps status {folder}",
        f"  to stop it:           dahps stop {folder}",
        f"  without waiting:      dahps stop --now {folder}",
    ]
    if batches:
        lines.append(f"  only these workers:   scancel {pasted(batches)}")
    return "\n".join(lines)
