"""Checkpoints: written as a whole, read without running code, removed when no longer needed."""

import math
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dahps_core import Ledger, Search, SearchSpace, checkpoints, current_trial
from dahps_core.checkpoints import remove_unkept
from dahps_core.errors import CheckpointError, ClaimLost
from dahps_core.model.records import Claim, Draw, TrialState
from dahps_core.worker.worker import Job, Worker, WorkerOptions

STATE = {"weights": torch.arange(6.0).view(2, 3), "step": 7, "name": "ä", "nested": [None, (1.5, True)]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.pt"


def same(one, other):
    return torch.equal(one.pop("weights"), other.pop("weights")) and one == other


def test_what_was_saved_is_loaded(path):
    assert checkpoints.load(path) is None
    checkpoints.save(STATE, path)
    assert same(checkpoints.load(path), dict(STATE))
    checkpoints.save([1], path)
    assert checkpoints.load(path) == [1]
    assert os.listdir(path.parent) == [path.name]


def test_what_cannot_be_written_or_may_not_count_leaves_the_one_before(path):
    def refuse():
        raise KeyboardInterrupt

    checkpoints.save([1], path)
    for states, before_it_counts, error in ((lambda: 0, bool, Exception), ([2], refuse, KeyboardInterrupt)):
        with pytest.raises(error):
            checkpoints.save(states, path, before_it_counts)
        assert checkpoints.load(path) == [1]
        assert os.listdir(path.parent) == [path.name]


def test_it_counts_when_it_is_whole_and_not_before(path):
    seen = []
    checkpoints.save([1], path)
    checkpoints.save([2], path, lambda: seen.append(checkpoints.load(path)))
    assert seen == [[1]]
    assert checkpoints.load(path) == [2]


SAVE_LIMITED = """
import resource, signal, sys, torch
from pathlib import Path
from dahps_core import checkpoints
for attempt, limit in enumerate(map(int, sys.argv[2:]), start=1):
    import os
    if os.fork() == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        checkpoints.save({"weights": torch.ones(100_000)}, Path(sys.argv[1]), attempt=attempt)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_process_that_is_killed_while_it_writes_leaves_the_one_before(path):
    checkpoints.save([1], path)
    limits = [1, 1000, 100_000, 399_999, 10_000_000]
    command = [sys.executable, "-c", SAVE_LIMITED, path, *map(str, limits)]
    codes = subprocess.check_output(command, text=True).split()
    assert codes == [str(-signal.SIGXFSZ)] * 4 + ["0"]
    assert torch.equal(checkpoints.load(path)["weights"], torch.ones(100_000))
    assert os.listdir(path.parent) == [path.name], "what the killed ones left over is removed"


def test_savers_of_one_attempt_do_not_touch_each_other_s_files(path):
    # Each one saves while another one has written, and has not put its own in place yet.
    def save_the_next(states):
        return lambda: checkpoints.save(states, path, save_the_next(states - 1) if states else bool)

    checkpoints.save(3, path, save_the_next(2))
    assert checkpoints.load(path) == 3
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("has_written", [False, True])
def test_an_earlier_attempt_that_still_runs_neither_counts_nor_hinders(path, has_written, monkeypatch):
    lost = []

    def refuse_if_lost():
        if lost:
            raise ClaimLost("the trial was claimed by another worker")
        live() if has_written else None

    def live():
        lost.append(True)
        checkpoints.save("live", path, attempt=2)

    save_whole = torch.save

    def save_late(states, file):
        save_whole(states, file)
        if states == "zombie" and not has_written:
            live()

    monkeypatch.setattr(torch, "save", save_late)
    with pytest.raises(ClaimLost):
        checkpoints.save("zombie", path, refuse_if_lost, attempt=1)
    assert checkpoints.load(path) == "live"
    assert os.listdir(path.parent) == [path.name]


def test_what_later_attempts_and_strangers_write_stays(path):
    names = {"checkpoint.pt.3.0123abcd.unfinished", "mine.1.0123abcd.unfinished", "checkpoint.pt.unfinished"}
    left_over = {"checkpoint.pt.1.0123abcd.unfinished", "checkpoint.pt.0123abcd.unfinished"}
    for name in names | left_over:
        path.with_name(name).touch()
    checkpoints.save([1], path, attempt=3)
    assert set(os.listdir(path.parent)) == {path.name, *names}


def save_and_die(path):
    if (pid := os.fork()) == 0:
        checkpoints.save([1], path, lambda: os._exit(1))
    os.waitpid(pid, 0)


@pytest.mark.parametrize("isolate", [True, False])
def test_what_an_attempt_has_not_finished_is_removed_when_it_is_over(tmp_path, isolate):
    def evaluate():
        trial = current_trial()
        save_and_die(trial.checkpoint_dir / checkpoints.FILE_NAME)
        trial.save_checkpoint([trial.attempt])
        assert len(os.listdir(trial.checkpoint_dir)) == 2
        return 1.0

    options = WorkerOptions(None, 1, None, heartbeat_s=0.2, lease_s=20, isolate=isolate)
    ledger = Ledger.join(tmp_path, search_of(1))
    Worker(ledger, "run", lambda trial: Job(evaluate, ""), options).work()
    assert ledger.counts()[TrialState.FINISHED] == 1
    assert os.listdir(ledger.checkpoint_dir(0)) == [checkpoints.FILE_NAME]


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_a_checkpoint_that_would_run_code_is_refused_unless_it_is_trusted(path, tmp_path):
    mark = tmp_path / "executed"
    checkpoints.save({"model": Bomb(mark)}, path)
    with pytest.raises(CheckpointError, match=r"more than tensors.*weights_only=False"):
        checkpoints.load(path)
    assert not mark.exists()
    checkpoints.load(path, weights_only=False)
    assert mark.exists(), "the bomb is one"


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04.", b"PK\x03\x04" + bytes(500)])
def test_what_is_no_checkpoint_is_told(path, content):
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=str(path)):
        checkpoints.load(path)


MEASURE = """
import resource, sys, torch
from pathlib import Path
from dahps_core import checkpoints
torch.save([torch.ones(1)], Path(sys.argv[1]).with_name("warm"))  # what the first save takes
states = [torch.ones(250_000_000 // 4) for _ in range(2)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if sys.argv[2] == "save":
    checkpoints.save(states, Path(sys.argv[1]))
else:
    torch.save(states, Path(sys.argv[1])) if sys.argv[2] == "bare" else copied(states, sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""

COPY = """
def copied(states, path):
    import io
    buffer = io.BytesIO()
    torch.save(states, buffer)
    Path(path).write_bytes(buffer.getbuffer())
"""


def test_large_states_are_not_copied_in_memory(path):
    def grown_by(how):
        return int(subprocess.check_output([sys.executable, "-c", COPY + MEASURE, path, how], text=True))

    assert grown_by("save") < 50_000
    assert grown_by("copy") > 200_000, "a copy would be seen"


LOAD = """
import sys
from pathlib import Path
from dahps_core import checkpoints
import torch
def anonymous():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("RssAnon")]
    return int(line.split()[1])
checkpoints.load(Path(sys.argv[1]))
before = anonymous()
state = checkpoints.load(Path(sys.argv[1]))
assert state.sum() == 50_000_000
print(anonymous() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_large_states_are_read_from_the_file_s_own_pages(path):
    checkpoints.save(torch.ones(50_000_000), path)
    grown_kb = int(subprocess.check_output([sys.executable, "-c", LOAD, path], text=True))
    assert grown_kb < 50_000


def search_of(n, direction="minimize"):
    root = {"key": "x", "values": list(range(n)), "default": None}
    return Search(SearchSpace.from_config({"root": root}), "grid", direction, seed=0)


def register(ledger):
    return ledger.register(run="run", host="host", pid=1, job=None)


def claim(ledger, worker, **known):
    limits = {"max_trials": None, "max_attempts": 9, "stop_after_failures": None}
    return ledger.claim(worker, **limits, **known)


def kept(ledger):
    return sorted(int(path.name) for path in (ledger.folder / "checkpoints").glob("*"))


def leave_checkpoints(ledger, endings):
    """Trials in order, each with a checkpoint, that end so: by a metric, or in another state."""
    worker = register(ledger)
    held = [claim(ledger, worker) for _ in endings]
    for one, ending in zip(held, endings, strict=True):
        folder = ledger.checkpoint_dir(one.number)
        (folder / "distributed").mkdir(parents=True)
        (folder / "distributed" / "part").touch()
        if ending == "failed":
            ledger.fail_if_held(one, error="boom", output_dir=None)
        elif ending == "released":
            ledger.release_if_held(one, output_dir=None)
        elif ending == "lost":
            ledger.lose_if_held(one, error="killed", output_dir=None)
        elif ending == "cancelled":
            ledger.cancel(one.number)
        elif ending != "running":
            ledger.finish_if_held(one, result=ending, metric=ending, output_dir=None)


UNFINISHED = ("running", "failed", "released", "lost", "cancelled")
ENDINGS = st.lists(
    st.one_of(st.floats(), st.none(), st.integers(-2, 2).map(float), st.sampled_from(UNFINISHED)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(ENDINGS, st.one_of(st.none(), st.integers(0, 4)), st.sampled_from(["minimize", "maximize"]))
def test_those_of_the_best_are_kept_and_of_all_that_have_not_finished(endings, keep, direction):
    with (
        tempfile.TemporaryDirectory() as folder,
        Ledger.join(Path(folder) / "l", search_of(len(endings), direction)) as ledger,
    ):
        leave_checkpoints(ledger, endings)
        remove_unkept(ledger, keep)
        sign = -1 if direction == "maximize" else 1
        ranked = sorted(
            (sign * metric, number)
            for number, metric in enumerate(endings)
            if isinstance(metric, float) and not math.isnan(metric)
        )
        best = {number for _, number in ranked[:keep]}
        assert kept(ledger) == [
            number
            for number, ending in enumerate(endings)
            if keep is None or ending in UNFINISHED or number in best
        ]


def test_what_others_left_behind_goes_and_strange_files_stay(tmp_path):
    with Ledger.join(tmp_path / "ledger", search_of(3)) as ledger:
        remove_unkept(ledger, 0)  # there is no folder yet
        leave_checkpoints(ledger, [1.0, 2.0, "running"])
        elsewhere = tmp_path / "elsewhere"
        ledger.checkpoint_dir(1).rename(elsewhere)
        ledger.checkpoint_dir(1).symlink_to(elsewhere)  # as in a ledger that was rebuilt
        (ledger.folder / "checkpoints" / "notes.txt").touch()
        remove_unkept(ledger, 0)
        assert sorted(os.listdir(ledger.folder / "checkpoints")) == ["2", "notes.txt"]
        assert elsewhere.is_dir(), "it is the old ledger's"


@pytest.mark.parametrize("isolate", [True, False])
def test_workers_keep_as_many_as_they_are_told(tmp_path, isolate):
    def evaluate():
        trial = current_trial()
        trial.save_checkpoint({"x": trial.combination["x"]})
        if trial.number == 1 and trial.attempt == 1:
            raise ValueError("once")
        return trial.combination["x"]

    options = WorkerOptions(None, 1, None, heartbeat_s=0.2, lease_s=2, isolate=isolate, keep_checkpoints=2)
    ledger = Ledger.join(tmp_path, search_of(6, "maximize"))
    # As if a worker had died after it had recorded a result, and before it removed the checkpoint.
    leave_checkpoints(ledger, [-1.0])
    worker = Worker(ledger, "run", lambda trial: Job(evaluate, ""), options)
    assert worker.work() is Draw.EXHAUSTED
    assert [trial.state for trial in ledger.trials()][:2] == [TrialState.FINISHED, TrialState.FAILED]
    assert kept(ledger) == [1, 4, 5]


def test_what_was_claimed_again_is_not_touched_by_whoever_had_it(tmp_path):
    with Ledger.join(tmp_path, search_of(1)) as ledger:
        first, second = register(ledger), register(ledger)
        claim(ledger, first)
        assert isinstance(claim(ledger, second, dead=[first]), Claim)
        (ledger.checkpoint_dir(0)).mkdir(parents=True)
        remove_unkept(ledger, 0)
        assert kept(ledger) == [0]
