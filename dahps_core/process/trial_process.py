"""One attempt in a process of its own, so that whatever it does ends the attempt and not the worker."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import popen_fork
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from typing import Any

from dahps_core.model.combination import Value
from dahps_core.process import linux
from dahps_core.process.answers import INTERRUPTED, MAX_BYTES, Answer, answer_of, line_of, read_answer, reason
from dahps_core.process.signals import JOB_SIGNALS, ignored
from dahps_core.text.json_lines import Lines
from dahps_core.trial.history import History

__all__ = ["Answer", "Child", "answer_of", "reason"]

#: Seconds in which a signal to the whole job, which ended the child, must reach the worker too.
SIGNAL_GRACE_S = 2.0
#: How many bytes are taken in at once.
_MOST_AT_ONCE = 2**16
#: Seconds that a child may take to leave after its last word: libraries flush what they hold at exit.
EXIT_GRACE_S = 10.0


class Child:
    """A forked process that evaluates one attempt; it inherits warm imports and starts in milliseconds.

    It leads a process group of its own, which is killed when the attempt is over, and so is what has left the
    group. It dies with its worker: an orphan would write into the checkpoint of a trial that another worker
    runs by then. A context manager, after which no process of the attempt is left.

    Args:
        function: As in `answer_of`; runs in the child.
        history: Of the attempt: what the child reports is taken in here, and written on request.
    """

    def __init__(
        self, function: Callable[[], tuple[Value, float | None]], history: History | None = None
    ) -> None:
        linux.adopt_orphans()
        self._others = linux.children()
        self._reaping = threading.Lock()
        self._is_over = False
        self._history = history
        self._line = Lines(MAX_BYTES)
        self._answer: Answer | None = None
        self._fault: ValueError | None = None
        self._has_exited = False
        # Sockets: where a trial has closed its end and opened a file, nothing is written into that.
        self._answers, answers = socket.socketpair()
        self._reports, reports = socket.socketpair()
        self._sources = [self._answers, self._reports]
        self._process = _TrialProcess(
            target=_run, args=(function, answers, history, reports, self._sources, os.getpid())
        )
        _flush_output()
        linux.end_openmp_threads()
        self._process.start()
        answers.close()
        reports.close()
        try:
            self._ended = [os.pidfd_open(self._process.pid or 0)]
        except (AttributeError, OSError):  # not Linux, or older than 5.3: the end of the answers replaces it
            self._ended = []

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exception: object) -> None:
        self._leave_nothing()

    def wait(self, timeout_s: float | None = None, others: Sequence[Any] = ()) -> bool:
        """Wait for the attempt's end, or for `timeout_s` seconds, or until one of the others can be read.

        Meanwhile its history is taken in.

        Returns:
            Whether the attempt has ended.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._is_to_end:
            left_s = None if deadline is None else max(deadline - time.monotonic(), 0)
            ready = self._attend(left_s, others)
            if not self._is_to_end and (left_s == 0 or any(one in ready for one in others)):
                return False
        return True

    def end(self) -> Answer:
        """Return how the attempt ended; kill it now if it has not."""
        try:
            if self.wait(0) and not self._fault:
                self._await_exit()
        finally:
            self._leave_nothing()
        if self._fault:
            error = f"the trial's process sent invalid data ({self._fault})"
            return Answer("failed", error=f"{error}. Does it write to descriptors that it did not open?")
        answer = self._answer or self._death()
        if answer.outcome == INTERRUPTED:
            time.sleep(SIGNAL_GRACE_S)  # as in `_death`
            return replace(answer, outcome="failed")
        return answer

    def kill(self) -> None:
        """End the attempt, from any thread; `wait` returns."""
        with self._reaping:
            if not self._is_over:  # else its number may be another process's by now
                self._kill_group()

    @property
    def _is_to_end(self) -> bool:
        return bool(self._answer or self._fault or self._has_exited)

    def _attend(self, timeout_s: float | None, others: Sequence[Any] = ()) -> list[Any]:
        """Wait once, and take in what the attempt has sent; returns what can be read."""
        ready = wait([*self._sources, *self._ended, *others], timeout_s)
        try:
            if self._answers in ready:
                self._take_in_answer()
            if self._reports in ready:
                self._take_in_reports()
        except ValueError as error:
            self._fault = error
            self._sources = []
        is_gone = self._ended[0] in ready if self._ended else self._answers not in self._sources
        self._has_exited = self._has_exited or is_gone
        return ready

    def _await_exit(self) -> None:
        deadline = time.monotonic() + EXIT_GRACE_S
        while not self._has_exited and (left_s := deadline - time.monotonic()) > 0:
            self._attend(left_s)

    def _leave_nothing(self) -> None:
        with self._reaping:
            if self._is_over:
                return
            self._kill_group()
            self._process.join()
            linux.kill_strays(self._others)
            self._is_over = True
        while self._sources and wait(self._sources, 0):
            self._attend(0)
        self._reports.close()
        self._answers.close()
        for descriptor in self._ended:
            os.close(descriptor)

    def _take_in_answer(self) -> None:
        for line in self._line.take_in(self._received(self._answers)[0]):
            self._answer = self._answer or read_answer(line)

    def _take_in_reports(self) -> None:
        data, reply_to = self._received(self._reports)
        try:
            if self._history:
                self._history.take_in(data)
                if reply_to and not self._is_over:  # else its reports are recorded with its end
                    self._history.flush_for_child(reply_to[0])
        finally:
            for descriptor in reply_to:
                os.close(descriptor)

    def _received(self, source: socket.socket) -> tuple[bytes, list[int]]:
        """Return what has arrived, and a descriptor that came with it."""
        data, reply_to = b"", list[int]()
        with suppress(ConnectionError):  # it died before it had read all
            data, reply_to, _, _ = socket.recv_fds(source, _MOST_AT_ONCE, 1)
        if not data:
            self._sources = [other for other in self._sources if other is not source]
        return data, reply_to

    def _kill_group(self) -> None:
        assert self._process.pid
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._process.kill()  # it has not made its group yet, or is gone

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


class _TrialProcess(ForkProcess):
    @staticmethod
    def _Popen(process: Any) -> popen_fork.Popen:  # noqa: N802 - multiprocessing's name
        return _Popen(process)


class _Popen(popen_fork.Popen):
    """As multiprocessing forks, but for its flush of the worker's output, which may lie on a full disk."""

    def __init__(self, process: Any) -> None:
        self.returncode = None
        self.finalizer = None
        self._launch(process)  # type: ignore[attr-defined]


def _run(
    function: Callable[[], tuple[Value, float | None]],
    answers: socket.socket,
    history: History | None,
    reports: socket.socket,
    ends_of_worker: Sequence[socket.socket],
    worker: int,
) -> None:
    os.setpgid(0, 0)
    linux.die_with(worker)
    _forget_handlers()
    _forget_fork_server()
    for end in ends_of_worker:
        end.close()
    # Held open in a process that the trial forks, it would hide the trial's death.
    os.register_at_fork(after_in_child=answers.close)
    if history:
        history.send_to(reports)
    try:
        answer = answer_of(function)
    except BaseException as error:
        answer = Answer(INTERRUPTED, error=reason(error))
    answers.sendall(line_of(answer))
    _flush_output()  # not before: whatever the trial has put in place of its output, its result counts


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


def _forget_handlers() -> None:
    # The launcher's and the worker's handlers requeue the job or release the claim: that is the worker's
    # affair, and must happen once. SLURM sends its signals to all processes of a job: where the worker
    # receives one, the trial does not die of it, and has time to save what it needs.
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else ignored)
    # The trial's own processes are ended by SIGTERM: a pool or a data loader would wait for them forever.
    # One that comes before the new process has reset our handler waits, or it would be lost.
    os.register_at_fork(before=_hold_sigterm, after_in_parent=_let_sigterm_in, after_in_child=_end_by_sigterm)


def _forget_fork_server() -> None:
    """Let the trial start a fork server of its own: that of the worker is no child of this process.

    multiprocessing waits for the inherited one, and raises ChildProcessError.
    """
    if module := sys.modules.get("multiprocessing.forkserver"):
        server = module._forkserver
        if server._forkserver_pid is not None:
            os.close(server._forkserver_alive_fd)
            server._forkserver_address = server._forkserver_alive_fd = server._forkserver_pid = None


_held = threading.local()


def _hold_sigterm() -> None:
    _held.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _let_sigterm_in() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _held.before)


def _end_by_sigterm() -> None:
    if signal.getsignal(signal.SIGTERM) is ignored:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _let_sigterm_in()
