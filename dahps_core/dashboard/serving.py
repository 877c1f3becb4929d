"""Optuna's dashboard of a ledger, on this machine alone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from dahps_core.errors import ConfigurationError, from_extra

LOOPBACK = "127.0.0.1"
#: Seconds in which a request must have arrived, all of it.
REQUEST_S = 30.0

#: What a browser calls this machine that has typed one of its own addresses. The page of another site, whose
#: name was made to mean this address, calls it by that name.
_OWN_NAMES = {LOOPBACK, "localhost", "::1"}

_ONLY_READ = b'{"reason": "The ledger is only read here; the commands of dahps write to it."}'
_NOT_HERE = b'{"reason": "This is for this machine alone, at 127.0.0.1 or localhost."}'


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # Ctrl-C waits for no request
    block_on_close = False


class _Handler(WSGIRequestHandler):
    def handle(self) -> None:
        # Each connection has a thread of its own: silent ones would keep theirs.
        timer = threading.Timer(REQUEST_S, self._stop_reading)
        timer.daemon = True
        timer.start()
        try:
            super().handle()
        finally:
            timer.cancel()

    def _stop_reading(self) -> None:
        with suppress(OSError):  # it is closed already
            self.connection.shutdown(socket.SHUT_RD)

    def log_message(self, *_: Any) -> None:
        pass


def make_dashboard(folder: Path | str, port: int) -> WSGIServer:
    """Return a server of the dashboard that already listens; `serve_forever` answers.

    Args:
        folder: The ledger's.
        port: Of the loopback address; 0: any that is free.

    Raises:
        ConfigurationError: The port is taken, or optuna-dashboard is not installed.
        LedgerError: As `Ledger.open`.
    """
    with from_extra("dashboard"):
        from optuna_dashboard import wsgi
    from dahps_core.dashboard.storage import LedgerStorage

    application = guarded(wsgi(LedgerStorage(folder)))
    try:
        return make_server(LOOPBACK, port, application, server_class=_Server, handler_class=_Handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        hint = "Give another port, or none to use any free one"
        raise ConfigurationError(f"port {port}: {reason}", where="--port", hint=hint) from error


def guarded(application: Any) -> Callable[..., Iterable[bytes]]:
    """Restrict the application to this machine and to reading: no notes, names or new studies."""

    def answer(environment: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        refusal = _refusal(environment)
        if refusal is None:
            answered: Iterable[bytes] = application(environment, start_response)
            return answered
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(refusal)))]
        start_response("403 Forbidden", headers)
        return [refusal]

    return answer


def _refusal(environment: dict[str, Any]) -> bytes | None:
    if _name(environment.get("HTTP_HOST", "")) not in _OWN_NAMES:
        return _NOT_HERE
    return None if environment["REQUEST_METHOD"] in ("GET", "HEAD") else _ONLY_READ


def _name(host: str) -> str | None:
    """Return the name in a Host header without its port, which differs through a tunnel."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def addresses(port: int) -> list[str]:
    """Return the addresses of the dashboard: from this machine, and from elsewhere."""
    return [
        f"http://{LOOPBACK}:{port}/",
        f"From elsewhere: ssh -L {port}:{LOOPBACK}:{port} {socket.gethostname()}, and the same address.",
    ]
