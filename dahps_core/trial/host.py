"""What the processes that a trial starts find of their attempt; see `membership` for their side."""

from __future__ import annotations

import functools
import json
import logging
import multiprocessing
import os
import shutil
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol, TypeVar

from dahps_core.environment.launchers import launch_variables, process_group, rank_variables
from dahps_core.errors import DahpsError, described
from dahps_core.trial.current import Trial, record_of
from dahps_core.trial.history import History
from dahps_core.trial.membership import FLAGS, SOCKET, VARIABLE, Attempt

log = logging.getLogger(__name__)

T = TypeVar("T")

#: The longest request in bytes.
_MAX_REQUEST = 2**16
#: Seconds that another process may take to read an answer.
_SEND_S = 5.0
#: A socket's path is shorter than this.
_MAX_PATH = 100


class Waitable(Protocol):
    """An attempt in a process of its own."""

    def wait(self, timeout_s: float | None = None, others: Sequence[Any] = ()) -> bool:
        """Wait for the attempt's end; whether it has ended."""


class Host:
    """One attempt, as the process that owns it shows it to those that the trial starts.

    They find it by an environment variable, through a socket in a private folder. Nothing of it is left when
    the context ends.

    Args:
        trial: The attempt's; from now on its flags are shared by a file.
        history: Takes in what other processes report; None on a rank that records nothing.
        program: Describes the owner's program, as JSON's values, for one that the trial starts.

    Attributes:
        is_relaunched: Whether the trial has started the same program again, which takes part in it.
    """

    def __init__(
        self, trial: Trial, history: History | None, program: Callable[[], Any] = lambda: None
    ) -> None:
        self.program = program
        self._trial = trial
        self._history = history
        self._ranks = rank_variables()
        self._address = Attempt(trial.number or 0, trial.attempt, socket.gethostname(), None)
        self._folder: Path | None = None
        self._listener: socket.socket | None = None
        self._open: dict[socket.socket, bytes] = {}
        self._had_group = process_group() is not None
        self.is_relaunched = False
        _hosts.add(self)

    def __enter__(self) -> Host:
        try:
            _remove_leftovers()
            self._folder = Path(tempfile.mkdtemp(prefix=_prefix(), dir=_temporary()))
            self._trial._flags.keep_in(self._folder / FLAGS)
            self._listener = socket.socket(socket.AF_UNIX)
            # Named when it listens: others remove the folder of a socket that refuses them.
            unnamed = self._folder / "bound"
            self._listener.bind(os.fspath(unnamed))
            self._listener.listen(128)
            unnamed.rename(self._folder / SOCKET)
            self._listener.setblocking(False)
            self._address = replace(self._address, folder=self._folder)
        except OSError as error:
            log.warning("#%s: the processes that it starts cannot take part: %s", self._trial.number, error)
            self._remove()
        return self

    def __exit__(self, *exception: object) -> None:
        self._remove()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make this process one whose own processes find the attempt."""
        carried: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
        before = os.environ.get(VARIABLE), carried.get(VARIABLE)
        os.environ[VARIABLE] = carried[VARIABLE] = str(self._address)
        try:
            yield
        finally:
            _put_back(os.environ, VARIABLE, before[0])
            _put_back(carried, VARIABLE, before[1])

    def around(self, function: Callable[[], T]) -> Callable[[], T]:
        """Return the function, for a forked process of the attempt."""

        def run() -> T:
            with self.entered():
                return function()

        return run

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve in a thread while this very process evaluates the trial."""
        launch, process = launch_variables(), os.getpid()
        awake, wake = socket.socketpair()
        thread = threading.Thread(target=self._serve_until, args=(awake,), name="dahps-host", daemon=True)
        with self.entered(), awake, wake:
            thread.start()
            try:
                yield
            finally:
                if os.getpid() == process:  # what the trial forks may come here, too
                    wake.sendall(b"\0")
                    thread.join()
                    if self.is_relaunched:
                        self._forget_ranks(launch)

    def attend(self, child: Waitable, timeout_s: float | None = None, others: Sequence[Any] = ()) -> bool:
        """Wait as the child's `wait` does, and serve meanwhile."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = None if deadline is None else max(deadline - time.monotonic(), 0)
            if child.wait(left_s, [*others, *self._sockets]):
                return True
            self._serve()
            if left_s == 0 or (others and wait(others, 0)):
                return False

    def forget(self) -> None:
        """Close the connections in a forked process: another one answers."""
        for connection in self._sockets:
            connection.close()
        self._folder, self._listener, self._open = None, None, {}

    @property
    def _sockets(self) -> list[socket.socket]:
        return [*([self._listener] if self._listener else []), *self._open]

    def _serve_until(self, awake: socket.socket) -> None:
        while awake not in wait([awake, *self._sockets]):
            self._serve()

    def _serve(self) -> None:
        for ready in wait(self._sockets, 0) if self._sockets else ():
            assert isinstance(ready, socket.socket)
            with suppress(OSError):  # it is gone
                if ready is self._listener:
                    self._open[ready.accept()[0]] = b""
                else:
                    self._receive(ready)

    def _receive(self, connection: socket.socket) -> None:
        with suppress(ConnectionError):
            data = connection.recv(_MAX_REQUEST)
            request = self._open[connection] = self._open[connection] + data
            if data and not request.endswith(b"\n") and len(request) < _MAX_REQUEST:
                return
        with connection:
            request = self._open.pop(connection)
            connection.settimeout(_SEND_S)
            connection.sendall(json.dumps(self._answered(request)).encode() + b"\n")

    def _answered(self, request: bytes) -> dict[str, Any]:
        # Whatever a trial's processes send, the answering process survives.
        try:
            return {"answer": self._answer(**json.loads(request))}
        except DahpsError as error:
            return {"error": described(error)}
        except Exception as error:
            return {"error": described(DahpsError(f"the trial's worker cannot answer: {error!r}"))}

    def _answer(self, what: str, step: int = 0, metric: float = 0.0) -> Any:
        if what == "report":
            self._trial.report(metric, step)
        elif what == "flush" and self._history:
            self._history.flush()
        elif what == "program":
            return self.program()
        elif what == "join":
            self.is_relaunched = True
        elif what == "trial":
            assert self._folder
            is_recorded, flags = self._history is not None, str(self._folder / FLAGS)
            record = record_of(self._trial)
            return {**record, "ranks": self._ranks, "is_recorded": is_recorded, "flags": flags}
        return None

    def _forget_ranks(self, launch: dict[str, str | None]) -> None:
        """Forget the ranks that the trial launched beside this process: the next one launches its own."""
        for name, value in launch.items():
            _put_back(os.environ, name, value)
        if (group := process_group()) and not self._had_group:
            group.destroy_process_group()

    def _remove(self) -> None:
        folder = self._folder
        self.forget()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


_hosts: weakref.WeakSet[Host] = weakref.WeakSet()


def _forget_all() -> None:
    for host in _hosts:
        host.forget()


# Held open in a forked process, a socket would wait for answers for ever.
os.register_at_fork(after_in_child=_forget_all)


def _put_back(mapping: Any, name: str, value: str | None) -> None:
    if value is None:
        mapping.pop(name, None)
    else:
        mapping[name] = value


def _prefix() -> str:
    return f"dahps-{os.getuid()}-"


def _temporary() -> str:
    folder = tempfile.gettempdir()
    is_short = len(os.fsencode(folder)) + len(_prefix()) + len("/12345678/socket") < _MAX_PATH
    return folder if is_short else "/tmp"


@functools.cache
def _remove_leftovers() -> None:
    """Remove the folders of killed workers of this user: their sockets are dead."""
    for folder in Path(_temporary()).glob(f"{_prefix()}*"):
        with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_SEND_S)
            if folder.lstat().st_uid == os.getuid() and not folder.is_symlink():
                try:
                    probe.connect(os.fspath(folder / SOCKET))
                except ConnectionRefusedError:
                    shutil.rmtree(folder, ignore_errors=True)
