"""A network of its own for the lab's guests: nothing leaves it, and it ends with its thread."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

CLONE_NEWNET = 0x40000000
#: Each guest has a port on both: over `control` it is told what to do, also while `storage` is unplugged.
BRIDGES = {"storage": "10.77.0", "control": "10.77.1"}
CONNECT_TIMEOUT_S = 1.0


class Network:
    """Two bridges in a network namespace.

    A namespace belongs to a thread, and what the thread starts inherits it: so no other network of this
    process changes, and nothing is left once the thread and the guests have ended.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "nfs-lab")
        try:
            self.call(_leave_network)
            for bridge, subnet in BRIDGES.items():
                self.ip("link", "add", bridge, "type", "bridge")
                self.ip("address", "add", f"{subnet}.254/24", "dev", bridge)
                self.ip("link", "set", bridge, "up")
        except BaseException:
            self.close()
            raise

    def call(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """What a function returns that is called inside."""
        return self._thread.submit(function, *arguments, **options).result()

    def ip(self, *arguments: str) -> None:
        """Run the program `ip` inside."""
        self.call(subprocess.run, ["ip", *arguments], check=True, capture_output=True)

    def add_ports(self, guest: int) -> None:
        """Ports for a guest on both bridges."""
        for bridge in BRIDGES:
            self.ip("tuntap", "add", "dev", port(bridge, guest), "mode", "tap")
            self.ip("link", "set", port(bridge, guest), "up", "master", bridge)

    def connect(self, address: str, service: int) -> socket.socket:
        """A connection to a guest."""
        return self.call(socket.create_connection, (address, service), timeout=CONNECT_TIMEOUT_S)

    def popen(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """A process inside."""
        return self.call(subprocess.Popen, command, **options)

    def close(self) -> None:
        """End the thread; whoever was started with a death signal ends too."""
        self._thread.shutdown()


def port(bridge: str, guest: int) -> str:
    """The name of a guest's port on a bridge."""
    return f"{bridge}{guest}"


def address(bridge: str, guest: int) -> str:
    """A guest's address on a bridge."""
    return f"{BRIDGES[bridge]}.{guest + 1}"


def _leave_network() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
