"""The ranks of a job: real processes that meet by a file and speak over TCP."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dahps_core.environment.batch_job import BatchJob
from dahps_core.errors import LedgerUnavailableError, RanksError
from dahps_core.ranks import Leader, follow
from dahps_core.ranks.channel import MAX_BYTES, MAX_BYTES_OF_HANDSHAKE, Channel
from tests.support import state_of, wait_until

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("rank_process.py")


class Ranks:
    """The processes of one job.

    Args:
        folder: The ledger's, and where the ranks tell what they do.
    """

    def __init__(self, folder):
        self.folder = folder
        self.processes = {}

    def start(self, *behaviours, ranks=range(3), size=3, limit_s=60, prefix=(), **environment):
        for rank in ranks:
            self.processes[rank] = subprocess.Popen(
                [
                    *prefix,
                    sys.executable,
                    str(SCRIPT),
                    self.folder,
                    *map(str, (rank, size, limit_s)),
                    *behaviours,
                ],
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def run(self, *behaviours, **options):
        """Run to the end; the leader's answers."""
        self.start(*behaviours, **options)
        answers = self.answers()
        assert self.codes() == dict.fromkeys(self.processes, 0)
        return answers

    def answers(self):
        out, err = self.processes[0].communicate(timeout=120)
        return [json.loads(line) for line in out.splitlines() if line.startswith("[")] or err

    def codes(self):
        return {rank: process.wait(60) for rank, process in self.processes.items()}

    def errors(self, rank):
        return self.processes[rank].communicate(timeout=60)[1]

    def await_file(self, name):
        return wait_until(
            lambda: ((path := self.folder / name).exists() and path.read_text()) or None, 60, name
        )

    def children(self, number=0, size=3):
        return {rank: int(self.await_file(f"started-{number}.{rank}")) for rank in range(size)}


@pytest.fixture
def ranks(tmp_path):
    folder = tmp_path / "a ledger, größer"
    folder.mkdir()
    ranks = Ranks(folder)
    yield ranks
    for process in ranks.processes.values():
        process.kill()
        process.communicate()


def is_gone(pid):
    try:
        return state_of(pid) == "Z"
    except FileNotFoundError:
        return True


def assert_gone(pids):
    for pid in pids:
        wait_until(lambda pid=pid: is_gone(pid), 30, f"the end of process {pid}")


def test_all_ranks_evaluate_each_trial_and_rank_0_gives_the_result(ranks):
    answers = ranks.run("place", "place", TORCHELASTIC_USE_AGENT_STORE="True")
    assert [(answer["outcome"], answer["result"], lost) for answer, lost in answers] == [
        ("finished", 10, None)
    ] * 2
    ports = set()
    for number in range(2):
        for rank in range(3):
            environment, elastic, facts = json.loads(ranks.await_file(f"place-{number}.{rank}"))
            assert environment.pop("MASTER_ADDR")
            ports.add(environment.pop("MASTER_PORT"))
            size = {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3"}
            assert environment == {"RANK": str(rank), "LOCAL_RANK": str(rank), **size}
            assert elastic == []
            checkpoint_dir = str(ranks.folder / "checkpoints" / str(number))
            assert facts == [number, 2, 1, {"behaviour": "place"}, checkpoint_dir]
    assert len(ports) == 2, "each attempt has a port of its own"
    assert list((ranks.folder / "ranks").iterdir()) == []


def test_what_another_rank_spawns_has_the_trial_and_records_nothing(ranks):
    assert ranks.run("nothing", "spawn", size=2, ranks=range(2))[1][0]["outcome"] == "finished"
    facts = json.loads(ranks.await_file("spawned-1.1"))
    assert facts == [1, 2, 1, {"behaviour": "spawn"}, 0, None, str(ranks.folder / "checkpoints" / "1")]
    assert not list(ranks.folder.rglob("history.jsonl"))


def test_ranks_meet_by_torch_distributed_in_each_attempt(ranks):
    answers = ranks.run("all_reduce", "all_reduce", ranks=range(4), size=4)
    assert [answer["result"] for answer, _ in answers] == [15, 15]


def test_one_process_alone_needs_nobody(ranks):
    assert ranks.run("nothing", ranks=[0], size=1)[0][0]["result"] == 1
    assert not (ranks.folder / "ranks").exists()


@pytest.mark.parametrize("rank", [0, 2])
def test_a_rank_that_raises_ends_the_attempt_for_all_and_the_next_one_runs(ranks, rank):
    (answer, _), (after, _) = ranks.run(f"fail@{rank}", "nothing")
    assert answer["outcome"] == "failed"
    assert f"rank {rank} (host n{rank}" in answer["error"]
    assert f"ValueError: the loss of rank {rank} is gone" in answer["error"]
    assert "Traceback" in answer["error"]
    assert after["outcome"] == "finished"
    assert_gone(ranks.children().values())


def test_a_rank_that_raises_after_rank_0_has_returned_fails_the_attempt(ranks):
    ((answer, _),) = ranks.run("fail_in_the_end")
    assert answer["outcome"] == "failed"
    assert "the loss of rank 2 is gone" in answer["error"]


@pytest.mark.parametrize("rank", [0, 2])
def test_a_rank_that_writes_to_what_it_inherits_fails_the_attempt_alone(ranks, rank):
    (answer, lost), (after, _) = ranks.run(f"write_everywhere@{rank}", "nothing")
    assert (answer["outcome"], lost) == ("failed", None)
    assert f"rank {rank} (host n{rank}" in answer["error"]
    assert "sent invalid data" in answer["error"]
    assert after["outcome"] == "finished"


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_whose_child_is_killed_ends_the_attempt_for_all(ranks, rank):
    (answer, lost), (after, _) = ranks.run(f"be_killed@{rank}", "nothing")
    assert (answer["outcome"], lost) == ("died", None)
    assert f"rank {rank} (host n{rank}" in answer["error"]
    assert "signal 9 (SIGKILL)" in answer["error"]
    assert after["outcome"] == "finished"


def test_a_rank_that_cannot_end_is_ended_after_rank_0(ranks):
    (answer, _), (after, _) = ranks.run("return_beside_one_that_hangs", "nothing")
    assert (answer["outcome"], after["outcome"]) == ("finished", "finished")


def test_a_time_limit_ends_all_ranks(ranks):
    ranks.start("hang")
    children = ranks.children()
    (ranks.folder / "timeout").touch()
    ((answer, lost),) = ranks.answers()
    assert (answer["outcome"], lost) == ("died", None)
    assert ranks.codes() == dict.fromkeys(range(3), 0)
    assert_gone(children.values())


def test_a_preemption_reaches_all_ranks_and_those_that_leave_do_not_end_the_others(ranks):
    ranks.start("leave_when_preempted")
    ranks.children()
    for process in ranks.processes.values():
        if process is not ranks.processes[0]:
            process.send_signal(signal.SIGTERM)  # as a scheduler does: the leader's word counts
    (ranks.folder / "preempt").touch()
    ((answer, lost),) = ranks.answers()
    assert (answer["outcome"], lost) == ("failed", None)
    assert "SystemExit: preempted" in answer["error"]
    assert (ranks.folder / "saved.0").exists()
    assert ranks.codes() == dict.fromkeys(range(3), 0)


def test_a_follower_that_is_killed_loses_the_attempt_and_ends_the_job(ranks):
    ranks.start("leave_a_process_behind", "nothing")
    children = ranks.children()
    for rank in range(3):
        ranks.await_file(f"left-behind.{rank}")
    ranks.processes[1].kill()
    ((answer, lost),) = ranks.answers()
    assert answer["outcome"] == "died"
    assert f"rank 1 (host n1, process {ranks.processes[1].pid}): its process is gone" in answer["error"]
    assert "rank 1" in lost
    assert ranks.codes() == {0: 0, 1: -signal.SIGKILL, 2: 0}
    assert_gone(children.values())
    os.kill(int(ranks.await_file("left-behind.1")), signal.SIGKILL)


def test_a_follower_that_is_killed_between_two_trials_is_missed(ranks):
    (ranks.folder / "wait").touch()
    ranks.start("nothing", "nothing")
    ranks.children()
    ranks.processes[2].kill()
    ranks.processes[2].wait()
    (ranks.folder / "wait").unlink()
    assert len(ranks.answers()) == 1, "no second trial"
    assert ranks.codes() == {0: 0, 1: 0, 2: -signal.SIGKILL}


def test_followers_end_when_their_leader_is_killed(ranks):
    ranks.start("leave_a_process_behind")
    children = ranks.children()
    for rank in range(3):
        ranks.await_file(f"left-behind.{rank}")
    ranks.processes[0].kill()
    assert ranks.codes() == {0: -signal.SIGKILL, 1: 3, 2: 3}
    assert "rank 0 of this job is gone" in ranks.errors(1)
    assert_gone(children.values())
    os.kill(int(ranks.await_file("left-behind.0")), signal.SIGKILL)


def test_a_rank_that_never_comes_is_named(ranks):
    ranks.start("nothing", ranks=[0, 2], limit_s=3)
    assert ranks.codes() == {0: 3, 2: 3}
    error = ranks.errors(0)
    assert "1 of 3 ranks did not connect within 3 s: rank 1" in error
    assert "Their logs say why" in error
    assert "rank 0 of this job is gone" in ranks.errors(2)
    assert list((ranks.folder / "ranks").iterdir()) == []


def test_a_leader_that_never_comes_is_told_of(ranks):
    ranks.start("nothing", ranks=[1], limit_s=1)
    assert ranks.codes() == {1: 3}
    error = ranks.errors(1)
    assert "did not publish its address within 1 s" in error
    assert str(ranks.folder / "ranks" / "17.0.0") in error


def published(folder):
    path = folder / "ranks" / "17.0.0"
    return wait_until(lambda: path.exists() and json.loads(path.read_text()), 30, "the leader's address")


def test_the_file_is_for_its_owner_alone(ranks):
    ranks.start("nothing", ranks=[0])
    published(ranks.folder)
    assert (ranks.folder / "ranks" / "17.0.0").stat().st_mode & 0o777 == 0o600


def test_a_follower_with_another_secret_is_not_let_in(ranks):
    ranks.start("nothing", ranks=[0, 1])
    found = published(ranks.folder)
    forged = ranks.folder / "forged"
    (forged / "ranks").mkdir(parents=True)
    (forged / "ranks" / "17.0.0").write_text(json.dumps({**found, "secret": "00" * 32}))
    with pytest.raises(RanksError, match="could not be reached within 1 s"):
        follow(BatchJob(rank=2, size=3, key="17.0.0"), forged, lambda trial: None, limit_s=1)
    ranks.start("nothing", ranks=[2])
    assert ranks.answers()[0][0]["outcome"] == "finished"


def test_a_leader_with_another_secret_is_not_followed(ranks):
    with socket.create_server(("127.0.0.1", 0)) as server:
        folder = ranks.folder / "ranks"
        folder.mkdir()
        found = {"host": "x", "addresses": [server.getsockname()], "secret": "00"}
        (folder / "17.0.0").write_text(json.dumps(found))
        ranks.start("nothing", ranks=[1], limit_s=3)
        connected = server.accept()[0]
        with connected:
            send(connected, b'{"nonce": "0"}')
            assert b"proof" in connected.recv(4096)
            send(connected, b'{"proof": "0", "do": "start"}')
            assert connected.recv(1) == b"", "the follower hangs up"
    assert ranks.codes() == {1: 3}


def send(connected, message):
    connected.sendall(len(message).to_bytes(4, "big") + message)


def hello(connected, **greeting):
    connected.recv(4096)
    send(connected, json.dumps({"nonce": "0", "proof": "0" * 64, "rank": 1, **greeting}).encode())


def connection_to(ranks):
    return socket.create_connection(published(ranks.folder)["addresses"][0])


GARBAGE = {
    "HTTP": lambda connected: connected.sendall(b"GET / HTTP/1.0\r\n\r\n"),
    "nothing": lambda connected: connected.shutdown(socket.SHUT_WR),
    "too much": lambda connected: connected.sendall((MAX_BYTES_OF_HANDSHAKE + 1).to_bytes(4, "big")),
    "a part": lambda connected: connected.sendall((100).to_bytes(4, "big") + b"{"),
    "no JSON": lambda connected: send(connected, b"\xff\xfe"),
    "no object": lambda connected: send(connected, b"[1, 2]"),
    "deep": lambda connected: send(connected, b"[" * 100_000),
    "a pickle": lambda connected: send(connected, b"\x80\x04N."),
    "no proof": lambda connected: send(connected, b'{"rank": 1}'),
    "a wrong proof": hello,
    "surrogates": lambda connected: send(connected, b'{"nonce": "\\ud800", "proof": "\\ud800"}'),
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_on_the_port_keeps_nobody_out(ranks, garbage):
    ranks.start("nothing", ranks=[0])
    with connection_to(ranks) as connected:
        GARBAGE[garbage](connected)
        ranks.start("nothing", ranks=[1, 2])
        assert ranks.answers()[0][0]["outcome"] == "finished"
    assert ranks.codes() == dict.fromkeys(range(3), 0)


@pytest.mark.parametrize(
    "left", ["", "{", "[]", '{"addresses": 1}', '{"host": "x", "secret": "0"}', "a leader's"]
)
def test_what_an_earlier_start_left_is_passed_over(ranks, left):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()  # nobody listens there from now on
    if left == "a leader's":
        left = json.dumps({"host": "x", "addresses": [address], "secret": "00"})
    (ranks.folder / "ranks").mkdir()
    (ranks.folder / "ranks" / "17.0.0").write_text(left)
    ranks.start("nothing", ranks=[1, 2])
    time.sleep(0.3)
    ranks.start("nothing", ranks=[0])
    assert ranks.answers()[0][0]["outcome"] == "finished"
    assert ranks.codes() == dict.fromkeys(range(3), 0)


def test_an_address_that_leads_nowhere_is_one_of_several(ranks):
    ranks.start("nothing", ranks=[0, 1])
    found = published(ranks.folder)
    path = ranks.folder / "ranks" / "17.0.0"
    path.write_text(json.dumps({**found, "addresses": [["no such host.invalid", 1], *found["addresses"]]}))
    ranks.start("nothing", ranks=[2])
    assert ranks.answers()[0][0]["outcome"] == "finished"


def test_a_message_that_is_too_large_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = Channel(socket.create_connection(server.getsockname()))
        other = Channel(server.accept()[0])
    thread = threading.Thread(target=one.sent, args=[{"error": "x" * MAX_BYTES}])
    thread.start()
    with pytest.raises(ConnectionError, match="message length"):
        other.receive()
    other.close()
    thread.join()
    one.close()


@pytest.fixture
def other_network():
    """A network of its own that is joined to this one by a cable; the command that runs something in it."""
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("a network of its own takes root, and the command ip")
    name = f"dahps{os.getpid()}"
    here, there = f"{name}a"[-15:], f"{name}b"[-15:]

    def ip(*words):
        subprocess.run(["ip", *words], check=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        ip("address", "add", "198.18.77.1/30", "dev", here)
        ip("link", "set", here, "up")
        ip("-netns", name, "address", "add", "198.18.77.2/30", "dev", there)
        ip("-netns", name, "link", "set", there, "up")
        ip("-netns", name, "link", "set", "lo", "up")
        yield ["ip", "netns", "exec", name]
    finally:
        ip("netns", "delete", name)


def test_a_leader_is_found_by_the_address_of_one_of_its_interfaces(ranks, other_network):
    ranks.start("place", ranks=[0], size=2, prefix=other_network, HOST_EACH="1")
    ranks.start("place", ranks=[1], size=2, HOST_EACH="1")
    assert ranks.answers()[0][0]["outcome"] == "finished"
    for rank in (0, 1):
        environment, _, _ = json.loads(ranks.await_file(f"place-0.{rank}"))
        assert environment["MASTER_ADDR"] == "198.18.77.2"


def test_a_storage_that_refuses_is_told_at_once(tmp_path):
    gone = tmp_path / "gone" / "ledger"
    with pytest.raises(LedgerUnavailableError, match="ranks"):
        Leader(BatchJob(size=2, key="17.0.0"), gone, limit_s=60)
    assert not gone.exists()
