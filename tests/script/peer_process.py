"""Another rank than 0: FOUND RANK SIZE BEHAVIOUR ..., where FOUND is what rank 0's listener tells."""

import json
import os
import signal
import sys
from pathlib import Path

from dahps_core.environment.batch_job import BatchJob
from dahps_core.model.combination import Combination
from dahps_core.process.trial_process import Answer
from dahps_core.script.peers import Peer
from dahps_core.trial.current import Trial
from tests.support import wait_until

FOUND = json.loads(sys.argv[1])
RANK, SIZE = int(sys.argv[2]), int(sys.argv[3])
BEHAVIOURS = sys.argv[4:]


def fail(peer, trial):
    peer.report(Answer("failed", error=f"ValueError: the loss of rank {RANK} is gone"))


def fail_as_a_consequence(peer, trial):
    fail(peer, trial)
    peer.report(Answer("failed", error="the second word"))
    os.kill(os.getpid(), signal.SIGKILL)


def be_told_to_end(peer, trial):
    peer.report(Answer("released", error="SIGTERM"))


def be_killed(peer, trial):
    os.kill(os.getpid(), signal.SIGKILL)


def be_killed_beside_a_child(peer, trial):
    if (child := os.fork()) == 0:
        signal.pause()
    print(child, flush=True)
    be_killed(peer, trial)


def say_much(peer, trial):
    peer.report(Answer("failed", error="x" * 10_000_000 + "the end"))


def leave(peer, trial):
    peer.__exit__()
    sys.exit()


def leave_when_preempted(peer, trial):
    wait_until(lambda: trial.preempted, 60, "the preemption")
    leave(peer, trial)


def stay(peer, trial):
    sys.stdin.read()


peer = Peer(BatchJob(host=f"n{RANK}", rank=RANK, size=SIZE), FOUND)
for attempt, behaviour in enumerate(BEHAVIOURS, 1):
    trial = Trial(7, attempt, 0, Combination([("x", 1)]), Path("checkpoints"))
    peer.follow(trial)
    globals()[behaviour](peer, trial)
    print(behaviour, flush=True)
