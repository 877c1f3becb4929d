"""Where rank 0 listens for the others."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

from dahps_core.environment.batch_job import BatchJob

_LOOPBACK = "127.0.0.1"
_SIOCGIFADDR = 0x8915  # of linux/sockios.h


def servers(batch: BatchJob) -> list[socket.socket]:
    """Listen on the addresses by which the other ranks may reach this one, and on no others.

    Args:
        batch: The job, as rank 0 sees it.
    """
    if batch.local_size == batch.size:
        return [_server(_LOOPBACK)]
    found = []
    # On all networks of this host: not every one joins all hosts.
    for address in dict.fromkeys(_network_addresses()):
        with suppress(OSError):  # it is no longer this host's
            found.append(_server(address))
    return found or [_server(_LOOPBACK)]


def _server(address: str) -> socket.socket:
    server = socket.create_server((address, 0))
    server.setblocking(False)
    return server


def _network_addresses() -> Iterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # an interface without an address
                request = struct.pack("256s", name.encode()[:15])
                address = socket.inet_ntoa(fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)[20:24])
                if not address.startswith("127."):
                    yield address
