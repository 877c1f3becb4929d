"""Messages between two ranks: JSON over TCP, between processes that know the same secret."""

from __future__ import annotations

import hmac
import json
import secrets
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

#: The largest message, in bytes: a combination, or a traceback.
MAX_BYTES = 16 * 2**20
#: Seconds that the rest of a message may take that has begun, or an answer of the handshake.
PATIENCE_S = 5.0
#: A host that is gone says nothing: it is asked after so many seconds of silence, so often, and so far apart.
_SILENCE_S, _ASKED_TIMES, _INTERVAL_S = 30, 6, 5
#: Seconds for which what was sent may stay without a sign that it arrived.
_UNSEEN_S = 60.0

Message = dict[str, Any]


class Channel:
    """JSON messages to and from one other process; every failure is a `ConnectionError`.

    Args:
        connected: A connected socket, which the channel owns from now on.
    """

    def __init__(self, connected: socket.socket) -> None:
        self.here: str = connected.getsockname()[0]
        self.there: str = connected.getpeername()[0]
        _set_limits(connected)
        self._connection = Connection(connected.detach())

    def fileno(self) -> int:
        """Can be read when there is a message, or the other one is gone."""
        return self._connection.fileno()

    def send(self, message: Message) -> None:
        """Send a message of at most MAX_BYTES."""
        try:
            self._connection.send_bytes(json.dumps(message).encode())
        except OSError as error:
            raise ConnectionError(str(error)) from error

    def sent(self, message: Message) -> bool:
        """Send a message; returns whether the other one can still get one."""
        try:
            self.send(message)
        except ConnectionError:
            return False
        return True

    def receive(self) -> Message:
        """The next message; waits for it, for a few seconds."""
        try:
            message = json.loads(self._connection.recv_bytes(MAX_BYTES))
        except EOFError as error:
            raise ConnectionError("closed by the other side") from error
        except (OSError, ValueError, RecursionError) as error:
            raise ConnectionError(str(error)) from error
        if not isinstance(message, dict):
            raise ConnectionError("not a message")
        return message

    def close(self) -> None:
        """Close it; the other side notices."""
        with suppress(OSError):
            self._connection.close()


def readable(channels: Sequence[Channel], timeout_s: float | None) -> list[Channel]:
    """Those that can be read, as soon as one can; none after so many seconds."""
    waited_for: Sequence[Any] = channels
    ready: Sequence[Any] = wait(waited_for, timeout_s)
    return [channel for channel in channels if channel in ready]


def welcome(channel: Channel, secret: bytes) -> Message:
    """The leader's part of the handshake: each side proves that it knows the secret; returns the greeting."""
    nonce = secrets.token_hex(16)
    channel.send({"nonce": nonce})
    greeting = channel.receive()
    both = f"{nonce} {greeting.get('nonce')}"
    _check(greeting.get("proof"), _proof(secret, f"follower {both}"))
    channel.send({"proof": _proof(secret, f"leader {both}")})
    return greeting


def greet(channel: Channel, secret: bytes, greeting: Message) -> None:
    """The follower's part."""
    nonce = secrets.token_hex(16)
    both = f"{channel.receive().get('nonce')} {nonce}"
    channel.send({**greeting, "nonce": nonce, "proof": _proof(secret, f"follower {both}")})
    _check(channel.receive().get("proof"), _proof(secret, f"leader {both}"))


# Not multiprocessing's own handshake: it waits for ever for one who says nothing, and up to Python 3.11 it
# takes MD5, which not every machine allows.
def _proof(secret: bytes, text: str) -> str:
    return hmac.new(secret, text.encode(errors="replace"), "sha256").hexdigest()


def _check(proof: object, expected: str) -> None:
    if not isinstance(proof, str) or not hmac.compare_digest(
        proof.encode(errors="replace"), expected.encode()
    ):
        raise ConnectionError("it does not know the secret")


def _set_limits(connected: socket.socket) -> None:
    patience = struct.pack("ll", int(PATIENCE_S), int(PATIENCE_S % 1 * 1e6))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connected.setsockopt(socket.SOL_SOCKET, option, patience)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _SILENCE_S),
        ("TCP_KEEPINTVL", _INTERVAL_S),
        ("TCP_KEEPCNT", _ASKED_TIMES),
        ("TCP_USER_TIMEOUT", int(1000 * _UNSEEN_S)),
    ):
        if hasattr(socket, name):  # Linux has all of them
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
