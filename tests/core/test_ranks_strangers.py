"""Strangers and slow connections keep no follower out, and no message is waited for without end."""

import itertools
import json
import os
import socket
import struct
import threading
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dahps_core.errors import RanksError
from dahps_core.ranks import channel as channels
from dahps_core.ranks import ranked_trial_process
from dahps_core.ranks.channel import MAX_BYTES, Channel, readable
from tests.core.test_ranks import connection_to, published, ranks  # noqa: F401 - a fixture


class Dripper:
    """Sends the beginning of a message, and then a byte every second, or reads as slowly."""

    def __init__(self, connected, reads=False):
        self._connected = connected
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._read if reads else self._send)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._is_over.set()
        self._thread.join()

    def _send(self):
        with suppress(OSError):
            self._connected.sendall((4000).to_bytes(4, "big"))
            while not self._is_over.wait(1):
                self._connected.send(b" ")

    def _read(self):
        # Else the kernel tells the other side only once half of some megabytes is free.
        self._connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        while not self._is_over.wait(1):
            self._connected.recv(200_000)


def test_silent_connections_and_one_that_drips_keep_nobody_out(ranks):  # noqa: F811
    ranks.start("nothing", ranks=[0])
    published(ranks.folder)
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(connection_to(ranks))
        stack.enter_context(Dripper(stack.enter_context(connection_to(ranks))))
        ranks.start("nothing", ranks=[1, 2])
        assert ranks.answers()[0][0]["outcome"] == "finished"
        assert ranks.codes() == dict.fromkeys(range(3), 0)


def test_more_connections_than_may_wait_keep_nobody_out(ranks):  # noqa: F811
    ranks.start("nothing", ranks=[0])
    published(ranks.folder)
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(connection_to(ranks))
        ranks.start("nothing", ranks=[1, 2])
        assert ranks.answers()[0][0]["outcome"] == "finished"


def test_a_connection_that_drips_is_cut_off(ranks):  # noqa: F811
    ranks.start("nothing", ranks=[0], limit_s=300)
    published(ranks.folder)
    with connection_to(ranks) as connected, Dripper(connected):
        connected.settimeout(60)
        with suppress(ConnectionResetError):  # a byte was on its way
            while connected.recv(4096):
                pass


def test_connections_that_are_reset_at_once_keep_nobody_out(ranks):  # noqa: F811
    ranks.start("nothing", ranks=[0])
    published(ranks.folder)
    for _ in range(50):
        with connection_to(ranks) as connected:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ranks.start("nothing", ranks=[1, 2])
    assert ranks.answers()[0][0]["outcome"] == "finished"


def listening(pid):
    """The addresses at which a process listens, as the kernel lists them."""
    sockets = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return sorted(
        [socket.inet_ntoa(bytes.fromhex(line[1][:8])[::-1]), int(line[1][9:], 16)]
        for line in lines
        if line[3] == "0A" and f"socket:[{line[9]}]" in sockets
    )


@pytest.mark.parametrize("hosts", [{}, {"HOST_EACH": "1"}], ids=["one host", "several"])
def test_a_leader_listens_where_it_says_and_nowhere_else(ranks, hosts):  # noqa: F811
    ranks.start("nothing", ranks=[0], **hosts)
    found = published(ranks.folder)
    assert listening(ranks.processes[0].pid) == sorted(found["addresses"])
    addresses = [address for address, _ in found["addresses"]]
    assert "0.0.0.0" not in addresses
    assert hosts or addresses == ["127.0.0.1"]


def connected():
    """Two ends of a connection: a channel, and a socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = Channel(socket.create_connection(server.getsockname()))
        return closing(channel), server.accept()[0]


def test_a_message_must_be_whole_in_time_however_often_a_byte_of_it_comes(monkeypatch):
    monkeypatch.setattr(channels, "PATIENCE_S", 2.5)
    one, other = connected()
    with one as channel, other, Dripper(other), pytest.raises(ConnectionError, match="in time"):
        channel.receive()


def test_a_message_must_be_taken_in_time_however_often_a_part_of_it_is(monkeypatch):
    monkeypatch.setattr(channels, "PATIENCE_S", 2.5)
    one, other = connected()
    with one as channel, other, Dripper(other, reads=True):
        assert not channel.sent({"error": "x" * (MAX_BYTES - 100)})


@given(st.lists(st.dictionaries(st.text(), st.none() | st.integers() | st.text())), st.data())
def test_messages_are_received_as_they_were_sent_however_they_are_cut(messages, data):
    contents = [json.dumps(message).encode() for message in messages]
    stream = b"".join(len(content).to_bytes(4, "big") + content for content in contents)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=5)) | {0, len(stream)})
    received = []
    one, other = connected()
    with one as channel, other:
        for start, end in itertools.pairwise(cuts):
            other.sendall(stream[start:end])
            while readable([channel], 0):
                message = channel.take_in()
                received += [] if message is None else [message]
    assert received == messages


def test_that_no_port_can_be_used_is_an_error(monkeypatch):
    with socket.create_server(("", 0)) as server:
        monkeypatch.setattr(ranked_trial_process, "_PORTS", [server.getsockname()[1]] * 1000)
        with pytest.raises(RanksError, match=r"none is usable: .*in use"):
            ranked_trial_process._free_port()
