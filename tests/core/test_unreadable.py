"""What a trial writes to where it should not, or raises, or breaks: only the attempt may fail of it."""

import asyncio
import json
import logging
import os
import select
import signal
import stat
import struct
import sys
import threading
from contextlib import suppress
from multiprocessing.util import Finalize

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dahps_core import Ledger, Search, SearchSpace, current_trial
from dahps_core.model.records import Draw, Report, TrialState
from dahps_core.process import trial_process
from dahps_core.process.answers import MAX_BYTES, Answer, read_answer
from dahps_core.process.trial_process import Child
from dahps_core.trial.history import History
from dahps_core.worker.worker import Job, Worker, WorkerOptions
from tests.support import wait_until

SEARCH = Search(SearchSpace.from_config({"root": {"key": "x", "values": [1], "default": None}}), seed=0)


def descriptors():
    """Each open descriptor, and which file, pipe or socket it is: numbers are used again."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # that of the listing itself
            status = os.fstat(int(name))
            found[int(name)] = (status.st_dev, status.st_ino)
    return found


def is_socket(descriptor):
    return stat.S_ISSOCK(os.fstat(descriptor).st_mode)


#: What this process has open for other ends than a worker's: pytest's.
_OTHERS = set(descriptors().values())


def inherited():
    """The descriptors that are or were a worker's, and those that a trial has opened itself."""
    return sorted(number for number, file in descriptors().items() if file not in _OTHERS)


def work(folder, evaluate, prepare=None, **options):
    """One worker; the only trial, and why the worker has ended."""
    options = {"max_attempts": 2, "isolate": True, **options}
    ledger = Ledger.join(folder, SEARCH)
    prepare = prepare or (lambda trial: Job(evaluate, str(folder)))
    limits = WorkerOptions(None, stop_after_failures=None, heartbeat_s=0.5, lease_s=30, **options)
    draw = Worker(ledger, "run", prepare, limits).work()
    (trial,) = ledger.trials()
    return trial, draw


def write_everywhere(data, targets=None):
    for descriptor in inherited() if targets is None else targets:
        with suppress(OSError):
            rest = memoryview(data)
            while rest and is_read(descriptor):
                rest = rest[os.write(descriptor, rest[: select.PIPE_BUF]) :]


def is_read(descriptor):
    """Whether a write returns: other tests in this process may have left pipes that nobody reads."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(3000))


GARBAGE = {
    "text": b"garbage\n",
    "a part": b"gar",
    "bytes": b"\xff\xfe\0\n",
    "a huge length": struct.pack("!iQ", -1, 2**40) + b"\n",
    "deep": b"[" * 100_000 + b"\n",
    "a deep result": b'{"outcome": "finished", "result": ' + b"[" * 500 + b"]" * 500 + b"}\n",
    "too long": b"x" * (MAX_BYTES + 1),
    "an answer": b'{"outcome": "finished", "result": 7.0, "metric": 7.0, "error": null}\n',
    "no outcome": b'{"outcome": 1}\n',
    "an unknown field": b'{"outcome": "finished", "step": 1}\n',
    "a step that SQLite cannot hold": b"[9223372036854775808, 0.5]\n",
    "a request without a pipe": b"null\n",
    "a number": b"1.0\n",
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_trial_that_writes_to_what_it_inherits_has_failed_and_its_worker_goes_on(tmp_path, garbage):
    def evaluate():
        write_everywhere(GARBAGE[garbage])
        return 1.0

    trial, draw = work(tmp_path, evaluate)
    assert (trial.state, trial.attempts, draw) == (TrialState.FAILED, 2, Draw.EXHAUSTED)
    assert "sent invalid data" in trial.error
    assert "descriptors that it did not open" in trial.error


def test_what_a_trial_writes_is_no_signal_to_its_worker(tmp_path):
    before = signal.signal(signal.SIGUSR1, lambda number, frame: None)  # a launcher's
    try:
        trial, _ = work(tmp_path, lambda: write_everywhere(bytes([signal.SIGUSR1])))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert trial.state is TrialState.FAILED


@pytest.mark.parametrize("isolate", [True, False])
def test_what_a_process_of_a_trial_writes_keeps_no_heart_from_beating(tmp_path, isolate):
    def evaluate():
        if (pid := os.fork()) == 0:
            write_everywhere(b"garbage\n", [one for one in inherited() if not is_report_socket(one)])
            os._exit(0)
        os.waitpid(pid, 0)
        (heart,) = (tmp_path / "heartbeats").iterdir()
        last = heart.stat().st_mtime_ns
        wait_until(lambda: heart.stat().st_mtime_ns != last, 30, "a beat")
        last = heart.stat().st_mtime_ns
        wait_until(lambda: heart.stat().st_mtime_ns != last, 30, "another beat")
        return 1.0

    trial, _ = work(tmp_path, evaluate, isolate=isolate)
    assert trial.metric == 1


def is_report_socket(descriptor):
    history = current_trial()._history
    return bool(history and history._worker) and history._worker.fileno() == descriptor


def test_what_a_forked_process_writes_does_not_reach_the_ledger(tmp_path):
    with Ledger.join(tmp_path, SEARCH) as ledger:
        assert ledger.counts()
        if (pid := os.fork()) == 0:
            for descriptor in inherited():
                if os.path.realpath(f"/proc/self/fd/{descriptor}").startswith(str(tmp_path)):
                    os.pwrite(descriptor, b"garbage", 0)
            os._exit(0)
        os.waitpid(pid, 0)
        assert (tmp_path / "ledger.db").read_bytes().startswith(b"SQLite format 3")
        assert ledger.counts()


def test_a_trial_that_closes_all_it_inherits_goes_on_and_fails_for_want_of_a_result(tmp_path, monkeypatch):
    monkeypatch.setattr(trial_process, "EXIT_GRACE_S", 0.1)
    go_on, done = tmp_path / "go on", tmp_path / "done"

    def close_all():
        os.closerange(3, 2**16)
        with done.open("w") as file:  # it may get the number of what was closed
            wait_until(go_on.exists, 60, "the signal to go on")
            return float(file.write("done")), None

    with Child(close_all) as attempt:
        assert not attempt.wait(0.5)
        go_on.touch()
        assert attempt.wait(60)
        assert "exit code 1 and without a result" in attempt.end().error
    assert done.read_text() == "done", "no answer was written into it"


def test_a_message_that_never_ends_does_not_end_a_trial_s_time_limit(tmp_path):
    def write_a_part_and_hang():
        write_everywhere(b'{"outcome')
        signal.pause()

    trial, draw = work(tmp_path, write_a_part_and_hang, max_attempts=1, trial_timeout_s=0.5)
    assert (trial.state, draw) == (TrialState.FAILED, Draw.EXHAUSTED)
    assert "longer than its time limit" in trial.error


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
)
FIELDS = st.dictionaries(st.sampled_from(["outcome", "result", "metric", "error", "more"]), JSON)
LINES = st.one_of(
    st.binary(max_size=40),
    JSON.map(lambda value: json.dumps(value).encode() + b"\n"),
    FIELDS.map(lambda fields: json.dumps({"outcome": "finished", **fields}).encode() + b"\n"),
    st.lists(JSON, min_size=2, max_size=2).map(lambda pair: json.dumps(pair).encode() + b"\n"),
    st.just(b"[1, 0.5]\n"),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(LINES, max_size=5), st.integers(1, 30))
@example([b"[" * 100_000 + b"\n"], 1000)
@example([b"9" * 5000 + b"\n"], 1000)
def test_whatever_a_child_sends_is_a_report_or_refused(chunks, size):
    sent = b"".join(chunks)
    history = History(lambda reports: None)
    with suppress(ValueError):
        for start in range(0, len(sent), size):
            history.take_in(sent[start : start + size])
    for step, metric in history.rest:
        assert type(step) is int
        assert 0 <= step < 2**63
        assert type(metric) is float


@settings(max_examples=100, deadline=None)
@given(LINES)
@example(b"[" * 100_000)
def test_whatever_a_child_answers_is_an_answer_or_refused(line):
    try:
        answer = read_answer(line)
    except ValueError:
        return
    assert answer.outcome in ("finished", "failed", "died", "interrupted")
    assert answer.error is None or isinstance(answer.error, str)
    assert answer.metric is None or type(answer.metric) is float
    json.dumps(answer.result)


@settings(max_examples=25, deadline=None)
@given(LINES, LINES)
def test_whatever_a_child_sends_its_worker_gets_an_ending(answer, reports):
    def evaluate():
        sockets = [one for one in inherited() if is_socket(one)]
        write_everywhere(answer, sockets[-2:-1])
        write_everywhere(reports, sockets[-1:])
        return 1.0, 1.0

    with Child(evaluate, History(lambda reports: None)) as attempt:
        assert attempt.wait(60)
        assert isinstance(attempt.end(), Answer)


def test_reports_before_garbage_are_kept():
    history = History(lambda reports: None)
    with pytest.raises(ValueError, match="Expecting value"):
        history.take_in(b"[1, 0.5]\ngarbage\n[2, 0.5]\n")
    assert history.rest == (Report(1, 0.5),)


def test_a_result_that_is_too_large_is_told(monkeypatch):
    with Child(lambda: ({"x" * MAX_BYTES: 1.0}, 1.0)) as attempt:
        assert attempt.wait(60)
        assert "the limit is 16,777,216. Save it to a file" in attempt.end().error


class TestRaising:
    @pytest.mark.parametrize(
        "kind", [KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, BaseException]
    )
    @pytest.mark.parametrize("isolate", [True, False])
    def test_whatever_a_trial_raises_is_its_failure_with_the_traceback(
        self, tmp_path, monkeypatch, kind, isolate
    ):
        monkeypatch.setattr(trial_process, "SIGNAL_GRACE_S", 0)

        def evaluate():
            raise kind("enough")

        if kind is KeyboardInterrupt and not isolate:
            with pytest.raises(KeyboardInterrupt):  # in this process it is the terminal's
                work(tmp_path, evaluate, isolate=False)
            with Ledger.open(tmp_path) as ledger:
                assert ledger.counts()[TrialState.RELEASED] == 1
            return
        trial, draw = work(tmp_path, evaluate, isolate=isolate)
        assert (trial.state, trial.attempts, draw) == (TrialState.FAILED, 2, Draw.EXHAUSTED)
        assert trial.error.startswith("Traceback")
        assert "in evaluate" in trial.error
        assert trial.error.endswith(f"{kind.__name__}: enough")

    def test_a_trial_that_cannot_be_made_ready_without_leaving_has_failed(self, tmp_path):
        trial, draw = work(tmp_path, None, lambda trial: sys.exit("no such resolver"))
        assert (trial.state, trial.attempts, draw) == (TrialState.FAILED, 2, Draw.EXHAUSTED)
        assert "SystemExit: no such resolver" in trial.error

    def test_an_error_that_cannot_be_shown_is_a_failure(self, tmp_path):
        class Error(Exception):
            @property
            def __notes__(self):
                raise MemoryError

            @property
            def __cause__(self):
                raise MemoryError

        def evaluate():
            raise Error

        trial, draw = work(tmp_path, evaluate, isolate=False)
        assert (trial.state, draw) == (TrialState.FAILED, Draw.EXHAUSTED)
        assert "Error" in trial.error

    @pytest.mark.parametrize("attempt", [1, 2])
    def test_a_trial_whose_worker_raises_is_charged(self, tmp_path, monkeypatch, attempt):
        def fail(self):
            raise RuntimeError("a defect")

        monkeypatch.setattr(Child, "end", fail)
        for _ in range(attempt):
            with pytest.raises(RuntimeError, match="a defect"):
                work(tmp_path, lambda: 1.0)
        with Ledger.open(tmp_path) as ledger:
            (trial,) = ledger.trials()
        assert (trial.state, trial.attempts) == (TrialState.FAILED, attempt)
        assert trial.error.startswith("Traceback")
        assert "RuntimeError: a defect" in trial.error
        monkeypatch.undo()
        trial, _ = work(tmp_path, lambda: 1.0)
        assert trial.state is (TrialState.FINISHED if attempt == 1 else TrialState.FAILED)

    def test_a_log_that_raises_costs_no_result(self, tmp_path, monkeypatch):
        def evaluate():
            sys.stdout.close()
            sys.stderr.close()
            return 1.0

        streams = [open(os.devnull, "w") for _ in range(2)]  # noqa: SIM115 - the trial closes them
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        handler = logging.StreamHandler(streams[1])
        logging.getLogger("dahps_core").addHandler(handler)
        try:
            trial, draw = work(tmp_path, evaluate, isolate=False)
        finally:
            logging.getLogger("dahps_core").removeHandler(handler)
        assert (trial.metric, draw) == (1, Draw.EXHAUSTED)


class Tee:
    """Writes, and cannot be flushed."""

    def write(self, text):
        return len(text)


@pytest.fixture(params=["tee", "none", "closed", "full disk"])
def output(request):
    """What cannot be flushed."""
    if request.param == "closed":
        with open(os.devnull, "w") as file:
            pass
        yield file
        return
    if request.param != "full disk":
        yield Tee() if request.param == "tee" else None
        return
    with open("/dev/full", "w") as file:
        file.write("x")
        yield file
        with open(os.devnull, "w") as nowhere:  # for what it still holds
            os.dup2(nowhere.fileno(), file.fileno())


class TestOutput:
    def test_a_trial_whose_output_cannot_be_flushed_finishes(self, output):
        def evaluate():
            sys.stdout = sys.stderr = output
            return 1.0, 1.0

        with Child(evaluate) as attempt:
            assert attempt.wait(60)
            assert attempt.end() == Answer("finished", 1.0, 1.0)

    def test_a_worker_whose_output_cannot_be_flushed_goes_on(self, tmp_path, monkeypatch, output):
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", output)
            patched.setattr(sys, "stderr", output)
            trial, draw = work(tmp_path, lambda: 1.0)
        assert (trial.metric, draw) == (1, Draw.EXHAUSTED)

    @pytest.mark.parametrize("how", ["hangs", "dies", "raises"])
    def test_a_result_counts_whatever_the_process_does_at_its_end(self, monkeypatch, how):
        monkeypatch.setattr(trial_process, "EXIT_GRACE_S", 0.2)
        end = {
            "hangs": signal.pause,
            "dies": lambda: os.kill(os.getpid(), signal.SIGKILL),
            "raises": lambda: 1 / 0,
        }

        def evaluate():
            if how == "hangs":
                threading.Thread(target=signal.pause).start()
            Finalize(None, end[how], exitpriority=1)
            return 1.0, 1.0

        with Child(evaluate) as attempt:
            assert attempt.wait(60)
            assert attempt.end().outcome == "finished"
