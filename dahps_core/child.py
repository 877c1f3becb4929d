"""One attempt in a process of its own, so that whatever it does ends the attempt and not the worker."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from dahps_core import kernel
from dahps_core.combination import Value
from dahps_core.errors import DahpsError
from dahps_core.history import History
from dahps_core.signals import JOB_SIGNALS, heard

#: Seconds in which a signal to the whole job, which ended the child, must reach the worker too.
SIGNAL_GRACE_S = 2.0
#: How much of an error is told, in characters: its beginning and its end.
MOST_TOLD = 100_000
#: How many bytes of its reports are taken in at once.
_MOST_AT_ONCE = 2**16
#: Seconds that a child may take to leave after its last word: libraries flush what they hold at exit.
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
    is_ours = isinstance(error, DahpsError)
    text = str(error) if is_ours else "".join(traceback.format_exception(error)).rstrip()
    half = MOST_TOLD // 2
    return text if len(text) <= MOST_TOLD else f"{text[:half]}\n[...]\n{text[-half:]}"


class Child:
    """A forked process that evaluates one attempt; it inherits warm imports and starts in milliseconds.

    It leads a process group of its own, which is killed when the attempt is over, and so is what has left the
    group. It dies with its worker: an orphan would write into the checkpoint of a trial that another worker
    runs by then. A context manager, after which no process of the attempt is left.

    Args:
        function: As in `answer_of`; runs in the child.
        history: Of the attempt: what the child reports is taken in here, and written when it asks for that.
    """

    def __init__(
        self, function: Callable[[], tuple[Value, float | None]], history: History | None = None
    ) -> None:
        kernel.adopt_orphans()
        self._others = kernel.children()
        context = multiprocessing.get_context("fork")
        self._reaping = threading.Lock()
        self._is_over = False
        self._answers, answers = context.Pipe(duplex=False)
        self._history = history
        self._reports, reports = socket.socketpair()
        self._reports_end = False
        self._process = context.Process(target=_run, args=(function, answers, history, reports, os.getpid()))
        sys.stdout.flush()
        sys.stderr.flush()
        kernel.end_openmp_threads()
        self._process.start()
        answers.close()
        reports.close()
        try:
            self._ended = os.pidfd_open(self._process.pid or 0)
        except (AttributeError, OSError):  # not Linux, or one of before 5.3: what a library forks may hide it
            self._ended = os.dup(self._answers.fileno())

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exception: object) -> None:
        self._leave_nothing()

    def wait(self, timeout_s: float | None = None, others: Sequence[Any] = ()) -> bool:
        """Wait for the attempt's end, or for so many seconds, or until one of the others can be read.

        Meanwhile its history is taken in.

        Returns:
            Whether the attempt has ended.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = None if deadline is None else max(deadline - time.monotonic(), 0)
            reports = [] if self._reports_end else [self._reports]
            ready = wait([self._answers, self._ended, *reports, *others], left_s)
            if self._reports in ready:
                self._take_in_reports()
            if self._answers in ready or self._ended in ready:
                return True
            if ready != [self._reports] or left_s == 0:
                return False

    def end(self) -> Answer:
        """How the attempt ended; if it has not, it is killed now."""
        answer = None
        try:
            if self.wait(0):
                answer = self._received()
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
        while not self._reports_end and wait([self._reports], 0):
            self._take_in_reports()
        self._reports.close()
        self._answers.close()
        os.close(self._ended)

    def _take_in_reports(self) -> None:
        data = b""
        with suppress(ConnectionError):  # it died before it had read an answer of ours
            data = self._reports.recv(_MOST_AT_ONCE)
        self._reports_end = not data
        if not self._history:
            return
        n_flushes = self._history.take_in(data)
        if self._is_over:
            return  # what it told is recorded with its end
        for _ in range(n_flushes):
            word = self._history.flush_for_child()
            with suppress(ConnectionError):
                self._reports.sendall(word)

    def _kill_group(self) -> None:
        assert self._process.pid
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._process.kill()  # it has not made its group yet, or is gone

    def _received(self) -> Answer | None:
        try:
            return Answer(**json.loads(self._answers.recv_bytes())) if self._answers.poll() else None
        except (EOFError, OSError):  # it died before, or in the midst of it
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


def _run(
    function: Callable[[], tuple[Value, float | None]],
    answers: Connection,
    history: History | None,
    reports: socket.socket,
    worker: int,
) -> None:
    os.setpgid(0, 0)
    kernel.die_with(worker)
    _forget_handlers()
    # Held open in a process that the trial forks, it would hide the trial's death.
    os.register_at_fork(after_in_child=answers.close)
    if history:
        history.tell(reports)
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
    # One that comes before the new process has forgotten our handler waits, or nobody would hear it.
    os.register_at_fork(before=_hold_sigterm, after_in_parent=_let_sigterm_in, after_in_child=_end_by_sigterm)


_held = threading.local()


def _hold_sigterm() -> None:
    _held.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _let_sigterm_in() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _held.before)


def _end_by_sigterm() -> None:
    if signal.getsignal(signal.SIGTERM) is heard:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _let_sigterm_in()
