"""How the ranks of a job find each other: the leader leaves its address in the ledger's folder."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

from dahps_core.environment.batch_job import BatchJob
from dahps_core.errors import RanksError
from dahps_core.ledger.sqlite.storage_errors import refused
from dahps_core.ranks.addresses import servers
from dahps_core.ranks.channel import Channel, Message, Welcome, greet
from dahps_core.text.small_files import read_json

FOLDER_NAME = "ranks"
#: Seconds for which the ranks of a job wait for each other: all of them import what they need first.
LIMIT_S = 300.0
#: Between two looks for the leader, in seconds.
SHORTEST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
#: Seconds that the attempt to connect to one address may take.
_CONNECT_S = 3.0
#: Connections that may wait for their handshake beside those of all ranks.
_MOST_STRANGERS = 128


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
        self._servers = servers(batch)
        self.found: Message = {
            "host": batch.host,
            "addresses": [server.getsockname() for server in self._servers],
            "secret": self._secret.hex(),
        }

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *exception: object) -> None:
        for server in self._servers:
            server.close()

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
        with _Entrance(self._servers, self._secret, self._batch) as entrance:
            while len(members) < self._batch.size - 1:
                if time.monotonic() > deadline:
                    raise _incomplete(self._batch, where, members, limit_s)
                for member in entrance.admitted(deadline):
                    if member.rank in members:  # which has not received the answer, and came again
                        members[member.rank].channel.close()
                    members[member.rank] = member
        return [members[rank] for rank in sorted(members)]


class _Entrance:
    """Where connections wait until they have proved to be followers: all at once, each for a limited time.

    Args:
        servers: The sockets at which they arrive.
        secret: Of the job.
        batch: The job, as rank 0 sees it.
    """

    def __init__(self, servers: Sequence[socket.socket], secret: bytes, batch: BatchJob) -> None:
        self._servers = servers
        self._secret = secret
        self._batch = batch
        self._welcomes: dict[Channel, Welcome] = {}  # the oldest first

    def __enter__(self) -> _Entrance:
        return self

    def __exit__(self, *exception: object) -> None:
        self._refuse(list(self._welcomes))

    def admitted(self, deadline: float) -> list[Member]:
        """Wait until something arrives, or until `deadline`; returns the followers that it makes known."""
        ends = [welcome.deadline for welcome in self._welcomes.values()]
        waited_for: Sequence[Any] = [*self._servers, *self._welcomes]
        ready: Sequence[Any] = wait(waited_for, max(min([deadline, *ends]) - time.monotonic(), 0))
        members = [self._admitted(channel) for channel in list(self._welcomes) if channel in ready]
        now = time.monotonic()
        self._refuse([channel for channel, welcome in self._welcomes.items() if welcome.deadline < now])
        for server in self._servers:
            if server in ready:
                self._let_wait(server)
        return [member for member in members if member]

    def _let_wait(self, server: socket.socket) -> None:
        if len(self._welcomes) == _MOST_STRANGERS + self._batch.size:
            self._refuse([next(iter(self._welcomes))])  # which had the longest time
        with suppress(BlockingIOError, ConnectionError):  # it is gone again
            channel = Channel(server.accept()[0])
            try:
                self._welcomes[channel] = Welcome(channel, self._secret)
            except ConnectionError:
                channel.close()

    def _admitted(self, channel: Channel) -> Member | None:
        """Return the follower once its greeting is complete; refuse anything else."""
        try:
            greeting = self._welcomes[channel].greeting()
            if greeting is None:
                return None
            member = Member(int(greeting["rank"]), str(greeting["host"]), int(greeting["pid"]), channel)
            if not 0 < member.rank < self._batch.size:
                raise ValueError(member)
        except (ConnectionError, KeyError, ValueError, TypeError):
            self._refuse([channel])
            return None
        del self._welcomes[channel]
        return member

    def _refuse(self, channels: Sequence[Channel]) -> None:
        for channel in channels:
            del self._welcomes[channel]
            channel.close()


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
    """Return a connection to the leader.

    Args:
        found: As its `Listener` reports.
        batch: The job, as this rank sees it.

    Raises:
        OSError: None of its addresses leads there.
        KeyError, TypeError, ValueError: No listener wrote this.
    """
    secret = bytes.fromhex(found["secret"])
    failures = []
    for address, port in found["addresses"]:
        channel = _greeted(address, int(port), secret, batch)
        if isinstance(channel, Channel):
            return channel
        failures.append(f"{address}, port {port}: {channel}")
    raise ConnectionError(f"rank 0 on {found['host']}: " + "; ".join(failures))


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


def _incomplete(batch: BatchJob, where: str, members: dict[int, Member], limit_s: float) -> RanksError:
    for member in members.values():
        member.channel.close()
    missing = [str(rank) for rank in range(1, batch.size) if rank not in members]
    shown = ", ".join(missing[:8]) + (", ..." if len(missing) > 8 else "")
    return RanksError(
        f"{len(missing)} of {batch.size} ranks did not connect within {limit_s:g} s: rank {shown}",
        where=where,
        hint="Their logs say why: they did not start, or did not find this folder, or a firewall is "
        f"between their hosts and {batch.host}",
    )


def _not_found(path: Path, why: Exception, limit_s: float) -> RanksError:
    if isinstance(why, FileNotFoundError):
        return RanksError(
            f"rank 0 of this job did not publish its address within {limit_s:g} s",
            where=str(path),
            hint="Check its log: it may not have started. Otherwise check that this is the same folder on "
            "all hosts",
        )
    return RanksError(
        f"rank 0 of this job could not be reached within {limit_s:g} s: {why}",
        where=str(path),
        hint="Check its log: it may have ended. Otherwise check for a firewall between the job's hosts",
    )
