"""How the ranks of a job find each other: the leader leaves its address in the ledger's folder."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from dahps_core.batch import BatchJob
from dahps_core.errors import RanksError
from dahps_core.ledger.storage import refused
from dahps_core.ranks.channel import Channel, Message, greet, welcome
from dahps_core.small_files import read_json

FOLDER_NAME = "ranks"
#: Seconds for which the ranks of a job wait for each other: all of them import what they need first.
LIMIT_S = 300.0
#: Between two looks for the leader, in seconds.
SHORTEST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
#: Seconds that the attempt to connect to one address may take.
_CONNECT_S = 3.0
_SIOCGIFADDR = 0x8915  # of linux/sockios.h


class Member(NamedTuple):
    """A follower that has joined, as the leader sees it."""

    rank: int
    host: str
    pid: int
    channel: Channel

    def __str__(self) -> str:
        return f"rank {self.rank} (host {self.host}, process {self.pid})"


def gathered(batch: BatchJob, folder: Path, limit_s: float) -> list[Member]:
    """Publish the leader's address, and wait for all followers.

    Raises:
        RanksError: Not all came within the limit.
        LedgerUnavailableError: The storage refuses the file with the address.
    """
    with Listener(batch) as listener, _published(folder / FOLDER_NAME, batch, listener.found):
        return listener.members(str(folder / FOLDER_NAME), limit_s)


class Listener:
    """The leader's socket, at which the others come in.

    Args:
        batch: The job, as rank 0 sees it.

    Attributes:
        found: By which the others reach it: JSON's values, and a secret.
    """

    def __init__(self, batch: BatchJob) -> None:
        self._batch = batch
        self._secret = secrets.token_bytes(32)
        self._server = socket.create_server(("", 0), backlog=batch.size)
        self.found: Message = {
            "host": batch.host,
            "addresses": _addresses(),
            "port": self._server.getsockname()[1],
            "secret": self._secret.hex(),
        }

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.close()

    def members(self, where: str, limit_s: float) -> list[Member]:
        """Wait for all followers.

        Args:
            where: They find the leader, for people.
            limit_s: For how many seconds.

        Raises:
            RanksError: Not all came within the limit.
        """
        deadline = time.monotonic() + limit_s
        members: dict[int, Member] = {}
        try:
            while len(members) < self._batch.size - 1:
                self._server.settimeout(max(deadline - time.monotonic(), 0.001))
                if member := _admitted(self._server.accept()[0], self._secret, self._batch):
                    members[member.rank] = member
        except TimeoutError:
            raise _incomplete(self._batch, where, members, limit_s) from None
        return [members[rank] for rank in sorted(members)]


def joined(batch: BatchJob, folder: Path, limit_s: float) -> Channel:
    """Look for the leader until it is found.

    Raises:
        RanksError: It was not within the limit.
    """
    deadline, pause = time.monotonic() + limit_s, SHORTEST_PAUSE_S
    path = folder / FOLDER_NAME / batch.key
    while True:
        try:
            _see_new_files(path.parent, batch)
            return reached(read_json(path), batch)
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = error  # the file of a leader that is gone, perhaps
        if time.monotonic() > deadline:
            raise _not_found(path, why, limit_s)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


def reached(found: Message, batch: BatchJob) -> Channel:
    """The way to the leader.

    Args:
        found: As its `Listener` tells.
        batch: The job, as this rank sees it.

    Raises:
        OSError: None of its addresses leads there.
        KeyError, TypeError, ValueError: No listener wrote this.
    """
    secret = bytes.fromhex(found["secret"])
    failures = []
    for address in found["addresses"]:
        channel = _greeted(address, int(found["port"]), secret, batch)
        if isinstance(channel, Channel):
            return channel
        failures.append(f"{address}: {channel}")
    raise ConnectionError(f"rank 0 on {found['host']}, port {found['port']}: " + "; ".join(failures))


@contextmanager
def _published(folder: Path, batch: BatchJob, found: Message) -> Iterator[None]:
    path = folder / batch.key
    unfinished = folder / f".{batch.key}.{secrets.token_hex(4)}"
    try:
        # Without parents: where a storage is gone, no ledger's folder is made in its place.
        folder.mkdir(exist_ok=True)
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(found, file)
        os.replace(unfinished, path)
    except OSError as error:
        raise refused(folder, error) from error
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def _admitted(connected: socket.socket, secret: bytes, batch: BatchJob) -> Member | None:
    """A follower; None for anything else that found the port."""
    channel = Channel(connected)
    try:
        greeting = welcome(channel, secret)
        member = Member(int(greeting["rank"]), str(greeting["host"]), int(greeting["pid"]), channel)
        if 0 < member.rank < batch.size:
            return member
    except (ConnectionError, KeyError, ValueError, TypeError):
        pass
    channel.close()
    return None


def _greeted(address: str, port: int, secret: bytes, batch: BatchJob) -> Channel | OSError:
    try:
        connected = socket.create_connection((address, port), timeout=_CONNECT_S)
        connected.settimeout(None)
        channel = Channel(connected)
    except OSError as error:
        return error
    try:
        greet(channel, secret, {"rank": batch.rank, "host": batch.host, "pid": os.getpid()})
    except ConnectionError as error:
        channel.close()
        return error
    return channel


def _see_new_files(folder: Path, batch: BatchJob) -> None:
    # A host keeps in mind for a minute that a file of a network file system was missing, unless it changes
    # the folder itself.
    with suppress(OSError):
        trace = folder / f".{batch.key}.rank{batch.rank}"
        trace.touch()
        trace.unlink()


def _addresses() -> list[str]:
    """By which this host may be reached, to be tried in turn: some networks do not join all hosts."""
    # First that of the machine itself, which is refused at once on any other.
    return list(dict.fromkeys(["127.0.0.1", socket.gethostname(), *_interface_addresses()]))


def _interface_addresses() -> Iterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # an interface without an address
                request = struct.pack("256s", name.encode()[:15])
                yield socket.inet_ntoa(fcntl.ioctl(asked.fileno(), _SIOCGIFADDR, request)[20:24])


def _incomplete(batch: BatchJob, where: str, members: dict[int, Member], limit_s: float) -> RanksError:
    for member in members.values():
        member.channel.close()
    missing = [str(rank) for rank in range(1, batch.size) if rank not in members]
    shown = ", ".join(missing[:8]) + (", ..." if len(missing) > 8 else "")
    return RanksError(
        f"of {batch.size} ranks {len(missing)} did not come within {limit_s:g} s: rank {shown}",
        where=where,
        mend="Their own logs say why: they did not start, or did not find this place, or a firewall is "
        f"between their hosts and {batch.host}",
    )


def _not_found(path: Path, why: Exception, limit_s: float) -> RanksError:
    if isinstance(why, FileNotFoundError):
        return RanksError(
            f"rank 0 of this job did not tell within {limit_s:g} s where it is",
            where=str(path),
            mend="See its log: it did not start, perhaps. Else see whether this is one and the same folder "
            "on all hosts",
        )
    return RanksError(
        f"rank 0 of this job could not be reached within {limit_s:g} s: {why}",
        where=str(path),
        mend="See its log: it has ended, perhaps. Else see whether a firewall keeps the hosts of a job apart",
    )
