import faulthandler
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dahps_core.child import Child
from tests.support import wait_until


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
    answer = Child(function).wait()
    assert answer.result is None
    assert all(word in answer.error for word in words), answer.error
    assert answer.is_lost == (function is killed), "only SIGKILL tells nothing of the trial"


def test_a_result_larger_than_a_pipe_arrives_whole():
    result = {f"metric {number}": 1.0 for number in range(100_000)}
    assert Child(lambda: (result, 1.0)).wait().result == result


@pytest.mark.parametrize("end", [lambda: (1.0, 1.0), leave_at_once])
def test_processes_left_behind_neither_hold_the_worker_nor_survive(end, tmp_path):
    pid_file = tmp_path / "pid"

    def leave_one_behind():
        if (pid := os.fork()) == 0:
            signal.pause()
        pid_file.write_text(str(pid))
        return end()

    Child(leave_one_behind).wait()
    wait_until(lambda: _is_gone(int(pid_file.read_text())), 10, "the end of the process left behind")


def test_what_a_trial_changes_in_its_process_stays_there(tmp_path):
    def change():
        os.chdir(tmp_path)
        os.environ["CHANGED"] = "yes"
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return None, None

    before = os.getcwd(), signal.getsignal(signal.SIGTERM)
    Child(change).wait()
    assert (os.getcwd(), signal.getsignal(signal.SIGTERM)) == before
    assert "CHANGED" not in os.environ


def test_a_trial_does_not_act_on_the_signals_of_its_worker():
    heard = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: heard.append(number))
    try:

        def get_the_signal():
            os.kill(os.getpid(), signal.SIGUSR2)
            return float(len(heard)), None

        answer = Child(get_the_signal).wait()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert answer.error is None
    assert answer.result == 0


WORKER = """
import os, signal, sys
from dahps_core.child import Child

def hang():
    open(sys.argv[1], "w").write(str(os.getpid()))
    signal.pause()

Child(hang).wait()
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
