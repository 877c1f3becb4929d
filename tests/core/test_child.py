import errno
import faulthandler
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from dahps_core.process.trial_process import Child
from tests.support import wait_until

NOBODY = 65534


def segfault():
    faulthandler.disable()  # pytest's would fill the terminal
    os.kill(os.getpid(), signal.SIGSEGV)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def leave_at_once():
    os._exit(3)


def leave():
    sys.exit("enough")


def fail():
    raise ValueError("the loss is gone")


def answer_of(function):
    with Child(function) as child:
        assert child.wait(60)
        return child.end()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (segfault, ["signal 11", "SIGSEGV"]),
        (killed, ["signal 9", "out of memory?"]),
        (leave_at_once, ["exit code 3", "without a result"]),
        (leave, ["SystemExit", "enough"]),
        (fail, ["Traceback", "in fail", "ValueError: the loss is gone"]),
    ],
)
def test_whatever_ends_an_attempt_is_told_and_spares_the_worker(function, words):
    answer = answer_of(function)
    assert answer.result is None
    assert all(word in answer.error for word in words), answer.error
    assert answer.outcome == ("died" if function is killed else "failed"), (
        "SIGKILL tells nothing of the trial"
    )


@pytest.fixture
def old_kernel(monkeypatch):
    """Linux before 5.3, or in a container that lets no new system calls through."""

    def refuse(pid):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", refuse)


@pytest.mark.parametrize(
    ("function", "outcome"), [(killed, "died"), (fail, "failed"), (lambda: (1, 1), "finished")]
)
def test_an_attempt_s_end_is_seen_on_an_old_kernel(old_kernel, function, outcome):
    def with_a_process_of_its_own():
        if os.fork() == 0:
            signal.pause()
        return function()

    assert answer_of(with_a_process_of_its_own).outcome == outcome


def test_of_an_error_that_holds_all_the_data_beginning_and_end_are_told():
    def fail_with_the_data():
        raise ValueError("x" * 10_000_000 + " is no batch")

    error = answer_of(fail_with_the_data).error
    assert len(error) < 200_000
    assert error.startswith("Traceback")
    assert error.endswith("xxx is no batch")


def test_a_result_larger_than_a_pipe_arrives_whole():
    result = {f"metric {number}": 1.0 for number in range(100_000)}
    assert answer_of(lambda: (result, 1.0)).result == result


#: A process of the attempt's group, and one that has left it as daemons do.
LEFT_BEHIND = {"child": 'touch "$0"; sleep 600', "daemon": 'setsid sh -c \'touch "$0"; sleep 600\' "$0" &'}


@pytest.mark.parametrize("end", [lambda: (1.0, 1.0), leave_at_once])
@pytest.mark.parametrize("how", LEFT_BEHIND)
def test_processes_left_behind_neither_hold_the_worker_nor_survive(how, end, tmp_path):
    mark = tmp_path / "left behind"

    def leave_one_behind():
        if os.fork() == 0:
            os.execv("/bin/sh", ["sh", "-c", LEFT_BEHIND[how], str(mark)])
        wait_until(mark.exists, 30, "the process to be left behind")
        return end()

    answer_of(leave_one_behind)
    assert not processes_with(str(mark))


def test_a_process_left_behind_does_not_hide_a_death_in_the_midst_of_the_answer(tmp_path):
    lived_on = tmp_path / "lived on"
    is_there = get_context("fork").Event()

    def die_in_the_midst():
        if os.fork() == 0:
            os.setsid()  # a group of its own, which is not killed with the trial's
            is_there.set()
            time.sleep(20)
            lived_on.touch()
            os._exit(0)
        is_there.wait()
        socket.socket.sendall = send_half
        return None, None

    def send_half(self, data):
        self.send(data[:6])
        os.kill(os.getpid(), signal.SIGKILL)

    assert answer_of(die_in_the_midst).outcome == "died"
    assert not lived_on.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user, and root again")
def test_what_a_trial_leaves_behind_as_another_user_is_let_be(tmp_path):
    pid_file = tmp_path / "pid"

    def leave_one_behind_as_root():
        os.setresuid(0, 0, 0)
        subprocess.Popen(["sh", "-c", 'setsid sh -c \'echo $$ >"$0"; exec sleep 600\' "$0" &', pid_file])
        wait_until(lambda: pid_file.exists() and pid_file.read_text(), 30, "the process to be left behind")
        return 1.0, 1.0

    os.setresuid(NOBODY, NOBODY, 0)
    try:
        assert answer_of(leave_one_behind_as_root).result == 1.0
    finally:
        os.setresuid(0, 0, 0)
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


OPENMP = """
import torch
from dahps_core.process.trial_process import Child

def compute():
    return float(torch.ones(1_000_000).exp().sum()), None

torch.set_num_threads(4)
compute()
with Child(compute) as child:
    assert child.wait(20), "it waits for threads that it does not have"
    assert child.end().result > 0
compute()
"""


def test_a_trial_uses_openmp_s_threads_after_its_worker_did():
    subprocess.run([sys.executable, "-c", OPENMP], check=True, timeout=60)


def processes_with(word):
    """The processes that have a word on their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.fsencode(word) in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def test_what_a_trial_changes_in_its_process_stays_there(tmp_path):
    def change():
        os.chdir(tmp_path)
        os.environ["CHANGED"] = "yes"
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        random.seed(0)
        np.random.seed(0)
        threading.Thread(target=signal.pause, daemon=True).start()
        held.append(bytearray(100_000_000))
        return None, None

    held = []
    before = state_of_this_process()
    answer_of(change)
    assert state_of_this_process() == before
    assert held == []


def state_of_this_process():
    return (
        os.getcwd(),
        dict(os.environ),
        [signal.getsignal(number) for number in signal.valid_signals()],
        random.getstate(),
        np.random.get_state()[1].tolist(),
        threading.active_count(),
    )


def test_a_trial_does_not_act_on_the_signals_of_its_worker():
    heard = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: heard.append(number))
    try:

        def get_the_signal():
            os.kill(os.getpid(), signal.SIGUSR2)
            return float(len(heard)), None

        answer = answer_of(get_the_signal)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert answer.error is None
    assert answer.result == 0


def test_a_trial_can_end_its_own_processes():
    def use_a_pool():
        with get_context("fork").Pool(2) as pool:  # at its end it sends them SIGTERM, and waits for them
            return sum(pool.map(abs, [-1, -2])), None

    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        assert answer_of(use_a_pool).result == 3
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_process_of_a_trial_ends_by_a_sigterm_that_comes_as_it_begins():
    has_begun = threading.Event()

    def fork():
        has_begun.set()
        if (child := os.fork()) == 0:
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), None

    # Registered before what a trial registers, it is called before that.
    os.register_at_fork(after_in_child=lambda: has_begun.is_set() and os.kill(os.getpid(), signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        assert answer_of(fork).result == -signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)


WORKER = """
import os, signal, sys
from dahps_core.process.trial_process import Child

def hang():
    open(sys.argv[1], "w").write(str(os.getpid()))
    signal.pause()

with Child(hang) as child:
    child.wait()
"""


def test_an_attempt_dies_with_its_worker(tmp_path):
    pid_file = tmp_path / "pid"
    worker = subprocess.Popen([sys.executable, "-c", WORKER, pid_file])
    wait_until(lambda: pid_file.exists() and pid_file.read_text(), 20, "the attempt's start")
    attempt = int(pid_file.read_text())
    worker.kill()
    worker.wait()
    wait_until(lambda: _is_gone(attempt), 10, "the attempt's end")


def _is_gone(pid):
    """Gone, or a zombie that nobody collects."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
