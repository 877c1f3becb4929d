"""Launching the workers, by the launcher that the user chose."""

from __future__ import annotations

import logging
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from hydra_plugins.dahps_sweeper._launchers import is_done


class Launch:
    """The calls of `launcher.launch` of one multirun, each in a thread if its jobs run elsewhere.

    A launcher returns when its last job has ended, and submitit learns of a killed job up to ten minutes
    late; the outcome of the search is in the ledger long before.

    Args:
        parts: Launchers of their own, each with the numbers of the workers that it launches.
        ends_together: Whether no worker outlives the error of its launcher.

    Attributes:
        n_workers: How many are launched in all.
        error: What a launcher or a worker raised first.
        endings: Why workers ended, as far as launchers have reported it.
    """

    def __init__(self, parts: Sequence[tuple[Launcher, range]], ends_together: bool = False) -> None:
        self.n_workers = sum(len(numbers) for _, numbers in parts)
        self.ends_together = ends_together
        self.error: Exception | None = None
        self.endings: Counter[str] = Counter()
        self._parts = [(*part, threading.Event()) for part in parts]

    def start(self) -> None:
        """Launch in threads."""
        for part in self._parts:
            threading.Thread(target=self._run_apart, args=part, name="dahps-launch", daemon=True).start()

    def returned(self, timeout_s: float) -> bool:
        """Return whether all launchers have returned, after at most `timeout_s` seconds."""
        # Not by the threads' `join`: up to Python 3.12, one that a Ctrl-C interrupts takes them for ended.
        deadline = time.monotonic() + timeout_s
        return all(ended.wait(max(0.0, deadline - time.monotonic())) for _, _, ended in self._parts)

    def run(self) -> None:
        """Launch here, until the workers have ended."""
        for part in self._parts:
            self._run(*part)

    def _run_apart(self, *part: Any) -> None:
        # A Ctrl-C at a terminal is for the sweeper, which stops its workers: what a launcher starts from here
        # does not receive it, and does not end with a traceback. Workers unblock it again.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self._run(*part)

    def _run(self, launcher: Launcher, numbers: range, ended: threading.Event) -> None:
        overrides = [[f"worker={number}"] for number in numbers]
        try:
            with _without_names_of_workers(launcher):
                job_returns = launcher.launch(overrides, initial_job_idx=numbers.start)
            for job_return in job_returns:
                if not isinstance(job_return, JobReturn):  # of rq: the traceback, or nothing
                    known = str(job_return or "see the log of rq's worker").strip()
                    raise RuntimeError(f"its job failed; {known.splitlines()[-1]}")
                # What a worker returned is the reason for its end; what it raised is raised here.
                self.endings[str(job_return.return_value)] += 1
        except Exception as error:
            if not is_done(error):
                self.error = self.error or error
        finally:
            ended.set()


#: The overrides that name a worker to its launcher, as launchers log them.
_NAME_OF_WORKER = re.compile(r"\s*#\d+ : worker=\d+\s*")


@contextmanager
def _without_names_of_workers(launcher: Launcher) -> Iterator[None]:
    """Keep a launcher from logging `#0 : worker=0`, which people would take for trial 0."""

    def is_to_be_logged(record: logging.LogRecord) -> bool:
        return not _NAME_OF_WORKER.fullmatch(record.getMessage())

    module = type(launcher).__module__
    # Hydra's launchers log there or in this module beside it. Not a filter of handlers: they set up new ones.
    loggers = [logging.getLogger(name) for name in (module, f"{module.rpartition('.')[0]}._core")]
    for logger in loggers:
        logger.addFilter(is_to_be_logged)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_to_be_logged)
