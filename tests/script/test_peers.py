"""What rank 0 of a script learns of the others: real processes, connected to this one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dahps_core.environment.batch_job import BatchJob
from dahps_core.errors import RanksError
from dahps_core.model.combination import Combination
from dahps_core.process.trial_process import Answer
from dahps_core.ranks.rendezvous import Listener
from dahps_core.script import peers
from dahps_core.script.peers import Peer, Peers
from dahps_core.trial.current import Trial

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("peer_process.py")
MINE = Answer("failed", error="RuntimeError: connection closed by peer")
RELEASED = Answer("released", error="SIGTERM")


def trial(attempt=1):
    return Trial(7, attempt, 0, Combination([("x", 1)]), Path("checkpoints"))


class Ranks:
    def __init__(self):
        self.processes = []

    def start(self, *behaviours):
        """One further rank for each list of behaviours; what rank 0 then sees."""
        batch = BatchJob(host="n0", size=len(behaviours) + 1)
        with Listener(batch) as listener:
            self.processes = [
                subprocess.Popen(
                    [
                        sys.executable,
                        SCRIPT,
                        json.dumps(listener.found),
                        str(rank),
                        str(batch.size),
                        *several,
                    ],
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for rank, several in enumerate(behaviours, 1)
            ]
            self.peers = Peers(batch, listener)
        return self.peers

    def await_behaviour(self, rank):
        return self.processes[rank - 1].stdout.readline().strip()


@pytest.fixture
def ranks():
    ranks = Ranks()
    yield ranks
    ranks.peers.close()
    for process in ranks.processes:
        process.kill()
        process.communicate()


def test_the_error_of_another_rank_is_the_attempt_s(ranks):
    answer = ranks.start(["fail", "stay"], ["stay"]).judged(trial(), MINE)
    assert answer.outcome == "failed"
    assert "rank 0 (host n0): RuntimeError: connection closed by peer" in answer.error
    assert f"rank 1 (host n1, process {ranks.processes[0].pid}): ValueError" in answer.error


def test_the_death_of_another_rank_is_the_attempt_s(ranks):
    answer = ranks.start(["stay"], ["be_killed"]).judged(trial(), MINE)
    assert answer.outcome == "died"
    assert f"rank 2 (host n2, process {ranks.processes[1].pid}): its process is gone" in answer.error


def test_a_process_that_a_dead_rank_has_forked_does_not_hide_its_death(ranks):
    answer = ranks.start(["be_killed_beside_a_child"]).judged(trial(), MINE)
    child = int(ranks.await_behaviour(1))
    os.kill(child, signal.SIGKILL)
    assert answer.outcome == "died"


def test_a_failure_that_was_there_before_the_signal_is_no_release(ranks):
    peers = ranks.start(["fail", "stay"], ["stay"])
    ranks.await_behaviour(1)
    answer = peers.judged(trial(), RELEASED)
    assert answer.outcome == "failed"
    assert "SIGTERM" not in answer.error


def test_a_signal_while_all_ranks_are_well_is_a_release(ranks):
    assert ranks.start(["stay"], ["stay"]).judged(trial(), RELEASED) is RELEASED


def test_a_rank_that_was_told_to_end_makes_the_others_errors_a_release(ranks):
    peers = ranks.start(["be_told_to_end", "stay"])
    assert peers.judged(trial(), MINE) == Answer("released", error="SIGTERM")


def test_a_rank_that_fails_counts_beside_one_that_was_told_to_end(ranks):
    peers = ranks.start(["be_told_to_end", "stay"], ["fail", "stay"])
    ranks.await_behaviour(1), ranks.await_behaviour(2)
    assert peers.judged(trial(), RELEASED).outcome == "failed"


def test_ranks_that_have_left_in_good_order_are_not_waited_for(ranks):
    assert ranks.start(["leave"], ["leave"]).judged(trial(), MINE) is MINE


def test_rank_0_s_own_error_counts_where_the_others_say_nothing(ranks, monkeypatch):
    monkeypatch.setattr(peers, "BLAME_S", 0.1)
    assert ranks.start(["stay"]).judged(trial(), MINE) is MINE


def test_what_was_said_of_an_earlier_attempt_is_not_this_one_s(ranks, monkeypatch):
    monkeypatch.setattr(peers, "BLAME_S", 0.1)
    others = ranks.start(["fail", "stay"])
    ranks.await_behaviour(1)
    assert others.judged(trial(attempt=2), MINE) is MINE


def test_the_first_word_of_a_rank_counts_and_its_death_after_it_does_not(ranks):
    others = ranks.start(["fail_as_a_consequence"])
    ranks.processes[0].wait(60)
    answer = others.judged(trial(), RELEASED)
    assert answer.outcome == "failed"
    assert "the loss of rank 1 is gone" in answer.error


def test_a_long_error_is_cut_to_its_end_and_blocks_nobody(ranks):
    others = ranks.start(["say_much", "stay"])
    assert ranks.await_behaviour(1) == "say_much", "nobody has read it yet"
    assert others.judged(trial(), MINE).error.endswith("the end")


def test_a_preemption_reaches_the_other_ranks(ranks):
    others = ranks.start(["leave_when_preempted"], ["leave_when_preempted"])
    others.preempt(trial(attempt=9))
    others.preempt(trial())
    assert [process.wait(60) for process in ranks.processes] == [0, 0]


def test_a_rank_that_never_connects_is_named(monkeypatch):
    monkeypatch.setattr(peers, "LIMIT_S", 0.1)
    batch = BatchJob(host="n0", size=2)
    with Listener(batch) as listener, pytest.raises(RanksError, match="1 of 2 ranks did not connect within"):
        Peers(batch, listener)


def test_a_rank_0_that_cannot_be_reached_is_told_of():
    with Listener(BatchJob(size=2)) as listener:
        pass
    with pytest.raises(RanksError, match="rank 1 on n1 cannot reach rank 0"):
        Peer(BatchJob(host="n1", rank=1, size=2), listener.found)
