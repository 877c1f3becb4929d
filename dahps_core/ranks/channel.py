"""Messages between two ranks: JSON over TCP, between processes that share a secret."""

from __future__ import annotations

import hmac
import json
import os
import secrets
import socket
import struct
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import Any

#: The largest message, in bytes: a combination, or a traceback.
MAX_BYTES = 16 * 2**20
#: The largest message of the handshake, from a process that may be anything.
MAX_BYTES_OF_HANDSHAKE = 4096
#: Seconds that a message may take in all once it is due, and so may a handshake.
PATIENCE_S = 10.0
#: TCP keepalive detects a dead host: seconds of silence before the first probe, probes, seconds between them.
_SILENCE_S, _KEEPALIVE_PROBES, _INTERVAL_S = 30, 6, 5
#: Seconds for which what was sent may stay without a sign that it arrived.
_UNSEEN_S = 60.0

#: Bytes that are read at once.
_AT_ONCE = 2**16
_LENGTH = struct.Struct("!I")

Message = dict[str, Any]


class Channel:
    """JSON messages to and from one other process; every failure is a `ConnectionError`.

    Args:
        connected: A connected socket, which the channel owns from now on.
    """

    def __init__(self, connected: socket.socket) -> None:
        try:
            self.here: str = connected.getsockname()[0]
            self.there: str = connected.getpeername()[0]
            _set_limits(connected)
        except OSError as error:  # it is gone again
            connected.close()
            raise ConnectionError(str(error)) from error
        self._socket = connected
        self._arrived = bytearray()  # of the message that is being received: its length, and itself

    def fileno(self) -> int:
        """Return a descriptor that is readable when there is a message, or the other side is gone."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Send a message of at most MAX_BYTES."""
        content = json.dumps(message).encode()
        try:
            self._socket.sendall(_LENGTH.pack(len(content)) + content)
        except OSError as error:
            raise ConnectionError(str(error)) from error

    def sent(self, message: Message) -> bool:
        """Send a message; returns whether the other one can still get one."""
        try:
            self.send(message)
        except ConnectionError:
            return False
        return True

    def receive(self, deadline: float | None = None, most_bytes: int = MAX_BYTES) -> Message:
        """Wait for the next message, all of it, until a time of `time.monotonic`; None: for PATIENCE_S."""
        if deadline is None:
            deadline = time.monotonic() + PATIENCE_S
        while readable([self], max(deadline - time.monotonic(), 0)):
            if (message := self.take_in(most_bytes)) is not None:
                return message
        raise ConnectionError("no complete message arrived in time")

    def take_in(self, most_bytes: int = MAX_BYTES) -> Message | None:
        """Read what has arrived, without waiting; returns the message once it is whole."""
        try:
            while missing := self._missing(most_bytes):
                # Not by the socket, which would wait.
                arrived = os.read(self._socket.fileno(), min(missing, _AT_ONCE))
                if not arrived:
                    raise ConnectionError("closed by the other side")
                self._arrived += arrived
            message = json.loads(self._arrived[_LENGTH.size :])
        except BlockingIOError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise ConnectionError(str(error)) from error
        self._arrived.clear()
        if not isinstance(message, dict):
            raise ConnectionError("not a message")
        return message

    def _missing(self, most_bytes: int) -> int:
        """Return how many bytes the message still lacks; nothing of the next one may be read."""
        if len(self._arrived) < _LENGTH.size:
            return _LENGTH.size - len(self._arrived)
        (length,) = _LENGTH.unpack_from(self._arrived)
        if length > most_bytes:
            raise ConnectionError(f"message length {length} exceeds {most_bytes}")
        return int(_LENGTH.size + length - len(self._arrived))

    def close(self) -> None:
        """Close it; the other side notices."""
        self._socket.close()


def readable(channels: Sequence[Channel], timeout_s: float | None) -> list[Channel]:
    """Return the connections that can be read as soon as one can; none after this many seconds."""
    waited_for: Sequence[Any] = channels
    ready: Sequence[Any] = wait(waited_for, timeout_s)
    return [channel for channel in channels if channel in ready]


class Welcome:
    """The leader's part of the handshake, in which each side proves that it has the secret.

    Args:
        channel: To a process that may be anything.
        secret: Of the job.

    Attributes:
        deadline: When the handshake must be over, as a time of `time.monotonic`.
    """

    def __init__(self, channel: Channel, secret: bytes) -> None:
        self.deadline = time.monotonic() + PATIENCE_S
        self._channel = channel
        self._secret = secret
        self._nonce = secrets.token_hex(16)
        channel.send({"nonce": self._nonce})

    def greeting(self) -> Message | None:
        """Read what has arrived, without waiting; returns the greeting once it is whole and proved."""
        greeting = self._channel.take_in(MAX_BYTES_OF_HANDSHAKE)
        if greeting is not None:
            both = f"{self._nonce} {greeting.get('nonce')}"
            _check(greeting.get("proof"), _proof(self._secret, f"follower {both}"))
            self._channel.send({"proof": _proof(self._secret, f"leader {both}")})
        return greeting


def greet(channel: Channel, secret: bytes, greeting: Message) -> None:
    """Do the follower's part of the greeting."""
    deadline = time.monotonic() + PATIENCE_S
    nonce = secrets.token_hex(16)
    both = f"{channel.receive(deadline, MAX_BYTES_OF_HANDSHAKE).get('nonce')} {nonce}"
    channel.send({**greeting, "nonce": nonce, "proof": _proof(secret, f"follower {both}")})
    answer = channel.receive(deadline, MAX_BYTES_OF_HANDSHAKE)
    _check(answer.get("proof"), _proof(secret, f"leader {both}"))


# Not multiprocessing's own handshake: it waits for ever for one who says nothing, and up to Python 3.11 it
# takes MD5, which not every machine allows.
def _proof(secret: bytes, text: str) -> str:
    return hmac.new(secret, text.encode(errors="replace"), "sha256").hexdigest()


def _check(proof: object, expected: str) -> None:
    if not isinstance(proof, str) or not hmac.compare_digest(
        proof.encode(errors="replace"), expected.encode()
    ):
        raise ConnectionError("it does not have the secret")


def _set_limits(connected: socket.socket) -> None:
    connected.settimeout(PATIENCE_S)  # to send a message, all of it
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _SILENCE_S),
        ("TCP_KEEPINTVL", _INTERVAL_S),
        ("TCP_KEEPCNT", _KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", int(1000 * _UNSEEN_S)),
    ):
        if hasattr(socket, name):  # Linux has all of them
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
