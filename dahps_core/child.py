"""One attempt in a process of its own, so that whatever it does ends the attempt and not the worker."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from dahps_core import kernel
from dahps_core.combination import Value
from dahps_core.errors import DahpsError
from dahps_core.signals import JOB_SIGNALS, heard

#: Seconds in which a signal to the whole job, which ended the child, must reach the worker too.
SIGNAL_GRACE_S = 2.0
#: Seconds that a child may take to leave after its answer: libraries flush what they hold at exit.
EXIT_GRACE_S = 10.0


@dataclass(frozen=True)
class Answer:
    """How an attempt ended.

    Attributes:
        outcome: As in `Ending`: "died" if it was ended from outside (SIGKILL), which says nothing of it.
        result: What it returned, if it finished.
        metric: The objective in the result.
        error: The traceback, or how the process died.
    """

    outcome: str
    result: Value = None
    metric: float | None = None
    error: str | None = None


def answer_of(function: Callable[[], tuple[Value, float | None]]) -> Answer:
    """Call `function`, which returns a result and its metric, and tell how it ended."""
    try:
        result, metric = function()
    except (Exception, SystemExit) as error:
        return Answer("failed", error=reason(error))
    return Answer("finished", result, metric)


def reason(error: BaseException) -> str:
    """Why an attempt failed, for people: the traceback, or the message alone of an error of ours."""
    return (
        str(error) if isinstance(error, DahpsError) else "".join(traceback.format_exception(error)).rstrip()
    )


class Child:
    """A forked process that evaluates one attempt; it inherits warm imports and starts in milliseconds.

    It leads a process group of its own, which is killed when the attempt is over, and so is what has left the
    group. It dies with its worker: an orphan would write into the checkpoint of a trial that another worker
    runs by then. A context manager, after which no process of the attempt is left.

    Args:
        function: As in `answer_of`; runs in the child.
    """

    def __init__(self, function: Callable[[], tuple[Value, float | None]]) -> None:
        kernel.adopt_orphans()
        self._others = kernel.children()
        context = multiprocessing.get_context("fork")
        self._reaping = threading.Lock()
        self._is_over = False
        self._answers, answers = context.Pipe(duplex=False)
        self._process = context.Process(target=_run, args=(function, answers, os.getpid()))
        sys.stdout.flush()
        sys.stderr.flush()
        self._process.start()
        answers.close()
        # Not `sentinel` where we can: it is a pipe, which processes that the trial left behind hold open.
        pidfd_open = getattr(os, "pidfd_open", None)
        self._ended = pidfd_open(self._process.pid) if pidfd_open else os.dup(self._process.sentinel)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exception: object) -> None:
        self._leave_nothing()

    def wait(self, timeout_s: float | None = None, others: Sequence[Any] = ()) -> bool:
        """Wait for the attempt's end, or for so many seconds, or until one of the others can be read.

        Returns:
            Whether the attempt has ended.
        """
        ready = wait([self._answers, self._ended, *others], timeout_s)
        return self._answers in ready or self._ended in ready

    def end(self) -> Answer:
        """How the attempt ended; if it has not, it is killed now."""
        try:
            answer = self._received() if self.wait(0) else None
            if answer:
                wait([self._ended], EXIT_GRACE_S)
        finally:
            self._leave_nothing()
        return answer or self._death()

    def kill(self) -> None:
        """End the attempt, from any thread; `wait` returns."""
        with self._reaping:
            if not self._is_over:  # else its number may be another process's by now
                self._kill_group()

    def _leave_nothing(self) -> None:
        with self._reaping:
            if self._is_over:
                return
            self._kill_group()
            self._process.join()
            kernel.kill_strays(self._others)
            self._is_over = True
        self._answers.close()
        os.close(self._ended)

    def _kill_group(self) -> None:
        assert self._process.pid
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._process.kill()  # it has not made its group yet, or is gone

    def _received(self) -> Answer | None:
        if not self._process.is_alive():
            self._kill_group()  # processes that it left behind would hold the pipe open
        try:
            return Answer(**json.loads(self._answers.recv_bytes())) if self._answers.poll() else None
        except EOFError:
            return None

    def _death(self) -> Answer:
        code = self._process.exitcode or 0
        if code >= 0:
            return Answer(
                "failed", error=f"the trial's process ended with exit code {code} and without a result"
            )
        if -code in JOB_SIGNALS:
            # Sent to the whole job, most likely: let our own copy arrive, and its handler decide.
            time.sleep(SIGNAL_GRACE_S)
        is_killed = -code == signal.SIGKILL
        hint = ": out of memory?" if is_killed else ""
        name = next((one.name for one in signal.Signals if one == -code), "real-time")
        return Answer(
            "died" if is_killed else "failed",
            error=f"the trial's process was killed by signal {-code} ({name}){hint}",
        )


def _run(function: Callable[[], tuple[Value, float | None]], answers: Connection, worker: int) -> None:
    os.setpgid(0, 0)
    kernel.die_with(worker)
    _forget_handlers()
    answer = answer_of(function)
    sys.stdout.flush()
    sys.stderr.flush()
    answers.send_bytes(json.dumps(vars(answer)).encode())


def _forget_handlers() -> None:
    # The launcher's and the worker's handlers requeue the job or release the claim: that is the worker's
    # affair, and must happen once. SLURM sends its signals to all processes of a job: where the worker
    # hears one, the trial does not die of it, and has time to save what it needs.
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else heard)
    # The trial's own processes are ended by SIGTERM: a pool or a data loader would wait for them in vain.
    os.register_at_fork(after_in_child=_end_by_sigterm)


def _end_by_sigterm() -> None:
    if signal.getsignal(signal.SIGTERM) is heard:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
