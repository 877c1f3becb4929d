"""Processes that a trial starts belong to it, however they are started; those that outlive it are refused."""

import json
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dahps_core import Ledger, Search, SearchSpace, current_trial
from dahps_core.environment.launchers import rank_in_trial, rank_variables
from dahps_core.errors import AttemptOver, ConfigurationError
from dahps_core.trial import host
from dahps_core.trial.membership import SOCKET, VARIABLE, Attempt
from dahps_core.worker.worker import Job, Worker, WorkerOptions
from tests.core import spawned
from tests.support import wait_until

ROOT = Path(__file__).resolve().parents[2]
SPACE = SearchSpace.from_config({"root": {"key": "x", "values": [1, 2, 3], "default": None}})
METHODS = ["spawn", "forkserver", "fork"]

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
def environment(monkeypatch):
    """Spawned processes find the tests."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture(params=[True, False], ids=["isolated", "in the worker"])
def isolate(request):
    return request.param


def work(folder, evaluate, isolate, n=1, **options):
    """Evaluate n trials by one worker; the ledger."""
    options = WorkerOptions(n, 1, None, 60, 120, isolate=isolate, **options)
    with Ledger.join(folder / "ledger", Search(SPACE, "grid"), patience_s=5) as ledger:
        Worker(ledger, "run", lambda trial: Job(evaluate, str(folder)), options).work()
    return ledger


def by_process(method, function, *arguments):
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        return pool.submit(function, *arguments).result()


def by_subprocess(step):
    command = [sys.executable, "-m", "tests.core.spawned", str(step)]
    return json.loads(subprocess.check_output(command, cwd=ROOT))


STARTED = {
    **{name: lambda step, name=name: by_process(name, spawned.report, step) for name in METHODS},
    "subprocess": by_subprocess,
}


@pytest.mark.parametrize("start", STARTED.values(), ids=STARTED)
def test_a_process_of_a_trial_has_the_trial_and_reports_for_it(tmp_path, isolate, start):
    def evaluate():
        own = spawned.facts()
        assert start(current_trial().number) == own
        return 0.0

    ledger = work(tmp_path, evaluate, isolate, n=2)
    assert [(trial.state.value, trial.error) for trial in ledger.trials()] == [("finished", None)] * 2
    assert [ledger.history(number) for number in (0, 1)] == [[(1, 0, 0.0)], [(1, 1, 0.125)]]
    assert VARIABLE not in os.environ


def test_a_fork_server_that_was_there_before_serves_each_trial(tmp_path, isolate):
    server = multiprocessing.get_context("forkserver")
    process = server.Process(target=int)
    process.start()
    process.join()

    def evaluate():
        return float(by_process("forkserver", spawned.facts)[0])

    ledger = work(tmp_path, evaluate, isolate, n=3)
    assert [trial.metric for trial in ledger.trials()] == [0, 1, 2]


def test_a_process_that_outlives_its_attempt_is_refused(tmp_path):
    errors = []
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:

        def evaluate():
            try:
                pool.submit(spawned.facts).result()
            except AttemptOver as error:
                errors.append(str(error))
            return 0.0

        work(tmp_path, evaluate, False, n=2)
        with pytest.raises(AttemptOver):
            pool.submit(spawned.save, 1).result()
    assert len(errors) == 1
    assert "trial 0: this process was started in attempt 1 of this trial, which is over" in errors[0]
    assert "unset DAHPS_TRIAL" in errors[0]


def test_checkpoints_of_a_spawned_process_are_the_trial_s_and_its_reports_are_written_before(
    tmp_path, isolate
):
    def evaluate():
        by_process("spawn", spawned.save, 3)
        assert current_trial().load_checkpoint() == {"step": 3}
        return Ledger.open(tmp_path / "ledger").history(0)[0][1]

    ledger = work(tmp_path, evaluate, isolate)
    assert [trial.metric for trial in ledger.trials()] == [3.0]


def test_the_resolver_works_in_a_spawned_process(tmp_path, isolate):
    ledger = work(tmp_path, lambda: float(by_process("spawn", spawned.resolved)), isolate, n=3)
    assert [trial.metric for trial in ledger.trials()] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("method", METHODS)
def test_a_spawned_process_sees_that_its_trial_should_stop(tmp_path, isolate, method):
    def evaluate():
        step = by_process(method, spawned.until_it_should_stop)
        assert current_trial().should_stop
        return step

    ledger = work(tmp_path, evaluate, isolate, stop="patience", stop_after=2)
    assert [trial.metric for trial in ledger.trials()] == [3.0]


@pytest.mark.parametrize("method", METHODS)
def test_a_spawned_process_sees_that_its_trial_is_preempted(tmp_path, method):
    started = tmp_path / "started"
    code = f"""
import multiprocessing
from pathlib import Path
from tests.core import spawned, test_membership

def evaluate():
    return test_membership.by_process({method!r}, spawned.until_preempted, Path({str(started)!r})) or 1.0

if __name__ == "__main__":
    test_membership.work(Path({str(tmp_path)!r}), evaluate, True, grace_s=60)
"""
    (tmp_path / "script.py").write_text(code)
    worker = subprocess.Popen([sys.executable, tmp_path / "script.py"])
    wait_until(started.exists, 60, "the spawned process")
    worker.send_signal(signal.SIGTERM)
    worker.wait(60)
    assert [trial.metric for trial in Ledger.open(tmp_path / "ledger").trials()] == [1.0]


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_rank_0_alone_records(tmp_path, isolate, name, monkeypatch):
    monkeypatch.setenv(name, "7")  # the worker's own: numbers none of its trials

    def evaluate():
        for rank in ("0", "1", "7"):
            by_process("spawn", spawned.as_rank, name, rank)
        return 0.0

    ledger = work(tmp_path, evaluate, isolate)
    assert [step for _, step, _ in ledger.history(0)] == [0, 7, 10, 17]


@given(
    st.dictionaries(st.sampled_from(["RANK", "LOCAL_RANK", "PMI_RANK"]), st.sampled_from(["0", "1", "x", ""]))
)
def test_what_was_inherited_numbers_no_process(environ):
    assert rank_in_trial(rank_variables(environ), environ) == 0
    assert rank_in_trial({}, environ) == (1 if "1" in environ.values() else 0)


@given(
    st.integers(0), st.integers(1, 9), st.sampled_from(["host", ""]), st.none() | st.just(Path("/tmp/a: b"))
)
def test_the_variable_keeps_all_that_it_says(number, attempt, host, folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(Attempt(number, attempt, host, folder)))
        assert Attempt.of_this_process() == Attempt(number, attempt, host, folder)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_nonsense_in_the_variable_is_one_clear_error(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, f"x{text}")
        with pytest.raises(ConfigurationError, match="unset DAHPS_TRIAL"):
            current_trial()


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.binary(), max_size=20))
def test_no_request_harms_the_worker(tmp_path, requests):
    def evaluate():
        address = str(Attempt.of_this_process().folder / SOCKET)
        for request in [*requests, b'{"what": "report", "step": -1}\n', b"[]\n", b"null\n"]:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(address)
                connection.sendall(request)
        silent = socket.socket(socket.AF_UNIX)
        silent.connect(address)
        with silent:
            return float(by_process("fork", spawned.report, 1)[0])

    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        assert [trial.metric for trial in work(Path(folder), evaluate, True).trials()] == [0.0]


def test_without_a_socket_a_spawned_process_is_refused_and_the_trial_goes_on(tmp_path, isolate, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/missing")

    def evaluate():
        with pytest.raises(ConfigurationError, match="could not create a socket"):
            by_process("spawn", spawned.facts)
        return 1.0

    assert [trial.metric for trial in work(tmp_path, evaluate, isolate).trials()] == [1.0]


def test_nothing_is_left_of_attempts_even_of_killed_workers(tmp_path, isolate):
    code = f"""
import os, signal, sys
from pathlib import Path
from tests.core import test_membership

def evaluate():
    if sys.argv[1] == "killed":
        os.kill(os.getppid() if {isolate} else os.getpid(), signal.SIGKILL)
    return float(len(os.listdir(os.environ["TMPDIR"])))

test_membership.work(Path(sys.argv[1]), evaluate, {isolate})
"""
    with tempfile.TemporaryDirectory() as temporary:  # a short path: a socket's name has an end
        environ = {**os.environ, "TMPDIR": temporary}
        for name, left in ("killed", 1), ("again", 0):
            (tmp_path / name).mkdir()
            subprocess.run([sys.executable, "-c", code, name], cwd=tmp_path, env=environ, timeout=120)
            assert len(os.listdir(temporary)) == left
    assert [trial.metric for trial in Ledger.open(tmp_path / "again" / "ledger").trials()] == [1.0]


def test_a_socket_that_does_not_listen_yet_is_no_leftover(tmp_path, monkeypatch):
    """Another worker of this user starts, and tidies up, between the making of the socket and its use."""
    listen = socket.socket.listen

    def tidied_up_before(self, backlog):
        host._remove_leftovers.__wrapped__()
        listen(self, backlog)

    monkeypatch.setattr(socket.socket, "listen", tidied_up_before)

    def evaluate():
        return float(by_process("spawn", spawned.facts)[0])

    ledger = work(tmp_path, evaluate, False, n=2)
    assert [trial.metric for trial in ledger.trials()] == [0, 1]
