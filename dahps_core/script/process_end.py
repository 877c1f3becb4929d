"""How a script's process ends, and with it the current trial.

A process is one worker at a time and evaluates one trial at a time: signals, hooks and `current_trial` belong
to the whole process.
"""

from __future__ import annotations

import atexit
import functools
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import AbstractContextManager, ExitStack, suppress
from multiprocessing.connection import wait
from multiprocessing.util import Finalize
from types import CodeType, TracebackType

from dahps_core.errors import LedgerError
from dahps_core.process import linux
from dahps_core.process.shutdown import Interruption
from dahps_core.process.trial_process import Answer, reason
from dahps_core.script.claimed_trial import Holding, Joined

log = logging.getLogger(__name__)

#: Of sys.monitoring: one that is not set aside for debuggers, coverage and profilers.
_TOOL = 4


class Process(Interruption):
    """This process, as the worker of a script's search.

    Attributes:
        worker: Its claims, or its connection to rank 0; None while the process is none.
        holding: The trial in its hand, if there is one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.worker: AbstractContextManager[object] | None = None
        self.holding: Holding | Joined | None = None
        self._grace_s = 0.0
        self._judgment: Answer | None = None
        self._judging = threading.Lock()
        self._handlers = ExitStack()
        threading.Thread(target=self._end_on_request, name="dahps-leaving", daemon=True).start()
        _hook_in()

    def request(self, reason: str) -> None:
        """Record an interruption, and pass it on to the current trial at once."""
        super().request(reason)
        if self.holding:
            self.holding.trial.preempt()

    def work(self, worker: AbstractContextManager[object], grace_s: float) -> None:
        """Act as `worker` and handle signals until `leave()`; the trial has `grace_s` seconds to leave."""
        self._grace_s = grace_s
        self._handlers.enter_context(self.hearing_signals())
        worker.__enter__()
        self.worker = worker

    def hold(self, holding: Holding | Joined) -> None:
        """Take a trial into the hand."""
        self.holding = holding
        if self.reason:
            holding.trial.preempt()

    def end(self, answer: Answer) -> None:
        """End the current attempt, if there is one; raises as a `Holding` does."""
        try:
            if holding := self.holding:  # until it has ended, for another thread to wait for
                holding.end(answer)
        finally:
            self.holding = None
            if self.reason:  # it draws no more
                self.leave()

    def leave(self, error: BaseException | None = None) -> None:
        """Be a worker no more; what was claimed for it is given back."""
        worker, self.worker = self.worker, None
        try:
            if worker:
                worker.__exit__(type(error) if error else None, error, None)
        finally:
            self.forget_handlers()

    def forget_handlers(self) -> None:
        """Restore the former signal handlers."""
        self._handlers.close()

    def judged(self, error: BaseException | None) -> Answer:
        """Return how leaving the script like this ends the current attempt; None: as the script
        itself ends.
        """
        holding = self.holding
        if self.reason:
            return self._judged_on_request()
        if error is None and holding:
            return holding.judged(holding.left_open)
        is_left = isinstance(error, (SystemExit, KeyboardInterrupt))
        if error is not None and not is_left and holding and not holding.trial.preempted:
            return holding.judged(Answer("failed", error=reason(error)))
        return Answer("released", error=f"{type(error).__name__}: the script left its trial")

    def end_quietly(self, answer: Answer) -> None:
        """End the current attempt, if there is one; the ledger's refusal is logged."""
        try:
            self.end(answer)
        except LedgerError as refusal:
            log.error("%s", refusal)

    def _judged_on_request(self) -> Answer:
        # Once, and at once: what other ranks do later is the consequence.
        with self._judging:
            if self._judgment is None:
                self._judgment = Answer("released", error=self.reason)
                if self.holding:
                    self._judgment = self.holding.judged(self._judgment)
            return self._judgment

    def _end_on_request(self) -> None:
        self._wait_for_report()
        if self._judged_on_request().outcome == "released":
            log.warning("%s: the script has %g s to leave.", self.reason, self._grace_s)
            if holding := self.holding:
                holding.preempt()
            time.sleep(self._grace_s)
        if self.holding or self._received_signals:
            self._end_now()

    def _wait_for_report(self) -> None:
        # Handlers run in the main thread, which may wait for a rank that never comes, in a collective
        # operation of torch.distributed. What the kernel notes is read here meanwhile.
        while not self.is_requested():
            wait([self.fileno()])

    def _end_now(self) -> None:
        number = self._received_signals[0] if self._received_signals else signal.SIGTERM
        try:
            self.end_quietly(self.judged(None))
            self.leave()
            self.answer()
        finally:
            linux.die_of(number)


_process: Process | None = None


def this_process() -> Process:
    """Return this process as one that exits in order."""
    global _process
    if _process is None:
        _process = Process()
    return _process


def _hook_in() -> None:
    _hook_in_for_good()
    # Once in each process: one that was forked by multiprocessing has none of its parent's.
    if multiprocessing.parent_process() is None:
        atexit.register(_at_the_end)
    else:
        Finalize(None, _at_the_end, exitpriority=100)  # these leave without what is registered with atexit
        _keep_what_it_raises()


@functools.cache
def _hook_in_for_good() -> None:
    global _excepthook
    _excepthook, sys.excepthook = sys.excepthook, _on_exception
    os.register_at_fork(after_in_child=_forget)


_excepthook = sys.__excepthook__
_raised: BaseException | None = None


def _keep_what_it_raises() -> None:
    """Keep an exception of a multiprocessing process, which Python 3.13 drops before the exit
    functions run.
    """
    if sys.version_info >= (3, 13) and not sys.monitoring.get_tool(_TOOL):
        run = type(multiprocessing.current_process()).run.__code__

        def keep(code: CodeType, offset: int, error: BaseException) -> None:
            global _raised
            if code is run:
                _raised = error

        event, tool = sys.monitoring.events.PY_UNWIND, _TOOL
        sys.monitoring.use_tool_id(tool, "dahps")
        sys.monitoring.register_callback(tool, event, keep)
        sys.monitoring.set_events(tool, event)


def _on_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    try:
        _excepthook(kind, error, trace)
    finally:
        if _process and not hasattr(sys, "ps1"):  # a mistyped line in a session is no failure
            _process.end_quietly(_process.judged(error))


def _at_the_end() -> None:
    if not _process:
        return
    error = sys.exc_info()[1] or _raised  # in a child of multiprocessing
    if isinstance(error, SystemExit) and error.__context__:
        error = error.__context__  # torch.multiprocessing has handled it
    _process.end_quietly(_process.judged(error))
    with suppress(LedgerError):
        _process.leave()
    with suppress(SystemExit):
        _process.answer()


def _forget() -> None:
    """Reset a forked child: it holds no trial, and ends by SIGTERM at once, as data loaders'
    processes must.
    """
    global _process
    if _process:
        _process.forget_handlers()
        _process = None
