"""Hostile values and results through a real ledger and worker; and that nothing shared is ever executed."""

import ast
import csv
import io
import json
import math
import pickle
import re
from pathlib import Path

import pytest

from dahps_core import Ledger, Search, SearchSpace
from dahps_core.cli import main
from dahps_core.errors import DahpsError
from dahps_core.ledger.folder import unrecorded
from dahps_core.ledger.folder.unrecorded import FILE_NAME
from dahps_core.model.combination import canonical
from dahps_core.model.records import Draw, Ending, TrialState
from dahps_core.trial.current import current_trial
from dahps_core.worker.worker import Job, Worker, WorkerOptions

ROOT = Path(__file__).parents[2]

OPTIONS = {
    "max_trials": None,
    "max_attempts": 1,
    "stop_after_failures": None,
    "heartbeat_s": 5,
    "lease_s": 60,
}

VALUES = [
    "'); DROP TABLE trial; --",
    '" OR 1=1; ATTACH DATABASE "pwned" AS p; --',
    ":number ?1 @worker $token",
    "$(touch pwned) `touch pwned` ; touch pwned | tee pwned > pwned",
    "../../pwned",
    "/etc/passwd",
    "C:\\pwned",
    "~root/pwned",
    "a\0b",
    "\0",
    "n" * 5000,
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "=1+1",
    'a,"b"\r\nc\td',
    "\x1b[2J\x1b]0;title\a",
    "\u202e\u2028\ufeff\U0010ffff",
    "%s %n {0} {} ${x} ${oc.env:HOME} ???",
    ":smile: [red]markup[/red]",
    "!!python/object/apply:os.system ['touch pwned']",
    "NaN",
    "",
    None,
    True,
    False,
    0,
    -0.0,
    1,
    1.0,
    "1",
    2**63,
    -(10**400),
    10**3999,
    5e-324,
    1.7976931348623157e308,
    math.nan,
    math.inf,
    -math.inf,
    [],
    {},
    [[[[]]]],
    {"../../pwned": {"$(touch pwned)|?*": [1, 1.0, True, None, math.nan, "\0"]}},
]

#: What may be named in a ledger's folder and beside it: files of ours, and numbers.
NAMES = re.compile(r"ledger\.(db(-journal)?|gate)|heartbeats|checkpoints|outputs|\d+|[0-9a-f]{16}|result")

AS_CSV = ["--format", "csv", "--columns", "number,combination,error"]


def search_of(*values, key="x", metric=None):
    root = {"key": key, "values": list(values), "default": None}
    return Search(SearchSpace.from_config({"root": root}), strategy="grid", seed=0, metric=metric)


def work(folder, search, evaluate, isolate=False):
    """One worker, whose trials leave something in their checkpoint and output folders."""

    def prepare(trial):
        output = folder.parent / "outputs" / str(trial.number)

        def run():
            output.mkdir(parents=True)
            (output / "result").touch()
            (current_trial().checkpoint_dir / "result").touch()
            return evaluate(trial)

        return Job(run, str(output))

    with Ledger.join(folder, search) as ledger:
        return Worker(ledger, "run", prepare, WorkerOptions(**OPTIONS, isolate=isolate)).work()


def records(folder):
    with Ledger.open(folder) as ledger:
        return list(ledger.trials())


def run_main(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def strict(value):
    """What strict JSON makes of a value, which has no NaN and no infinities."""
    if isinstance(value, dict):
        return {key: strict(element) for key, element in value.items()}
    if isinstance(value, list):
        return [strict(element) for element in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def names_below(folder):
    return {path.name for path in folder.rglob("*")}


def test_every_value_comes_back_unchanged_and_names_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "0"
    seen = []
    search = search_of(*VALUES)
    assert work(folder, search, lambda trial: seen.append(trial.combination["x"]) or 1.0) is Draw.EXHAUSTED
    assert list(map(canonical, seen)) == list(map(canonical, VALUES))

    trials = records(folder)
    assert {trial.state for trial in trials} == {TrialState.FINISHED}
    assert [trial.combination.canonical() for trial in trials] == [canonical({"x": v}) for v in VALUES]
    rows = csv.DictReader(io.StringIO(run_main(capsys, "trials", folder, *AS_CSV), newline=""))
    assert [canonical(json.loads(row["combination"])["x"]) for row in rows] == list(map(canonical, VALUES))
    exported = json.loads(run_main(capsys, "trials", folder, "--format", "json"))
    assert [canonical(row["combination"]["x"]) for row in exported] == [canonical(strict(v)) for v in VALUES]
    assert json.loads(run_main(capsys, "status", folder, "--json"))["trials"]["finished"] == len(VALUES)

    with Ledger.open(folder) as ledger:  # a ledger read from its file describes the same space
        assert ledger.search.space.digest() == search.space.digest()
    strange = {name for name in names_below(tmp_path) if not NAMES.fullmatch(name)}
    assert not strange
    assert len(names_below(folder / "checkpoints") - {"result"}) == len(VALUES)


@pytest.mark.parametrize("value", [*VALUES[:22], {"'; --": "\x1b\n", "": "", "\0": 0}], ids=ascii)
def test_the_best_trial_is_shown_whole_on_lines_of_printable_characters(value, tmp_path, capsys):
    with Ledger.join(tmp_path / "0", search_of(value)) as ledger:
        worker = ledger.register(run="run", host="h", pid=1, job=None)
        claim = ledger.claim(worker, max_trials=None, max_attempts=1, stop_after_failures=None)
        ledger.finish_if_held(claim, result=1.0, metric=1.0, output_dir="o" * 300 + "\x1b\n\ud800")
    *lines, output_dir = run_main(capsys, "status", tmp_path / "0").splitlines()
    combination = " ".join(line.strip() for line in lines[6:])  # folded at words
    assert combination
    assert combination.isprintable()
    assert output_dir.strip() == "o" * 300 + "\\x1b\\n\\ud800"
    if isinstance(value, str) and value.isprintable() and not set(value) & set("'\"\\"):
        assert value in combination


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_lacks_a_value_s_characters_is_served(encoding, tmp_path, monkeypatch):
    work(tmp_path / "0", search_of("größer 🙂"), lambda trial: 1.0)
    for command in (["status"], ["status", "--json"], ["trials"], ["trials", *AS_CSV], ["best"]):
        out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr("sys.stdout", out)
        assert main([command[0], str(tmp_path / "0"), *command[1:]]) == 0
        out.seek(0)
        assert "1f642" in out.read() or command != ["status"]


def test_a_node_of_100_000_values_is_searched(tmp_path):
    search = search_of(*range(100_000))
    with Ledger.join(tmp_path / "0", search) as ledger:
        options = WorkerOptions(**{**OPTIONS, "max_trials": 3}, isolate=False)
        Worker(ledger, "run", lambda trial: Job(lambda: trial.combination["x"], ""), options).work()
    assert [trial.metric for trial in records(tmp_path / "0")] == [0, 1, 2]


def test_a_path_of_500_levels_comes_back(tmp_path):
    node = None
    for level in reversed(range(500)):
        node = {"key": f"k{level}", "values": [level, "../../x"], "default": node}
    search = Search(SearchSpace.from_config({"root": node}), seed=1)
    with Ledger.join(tmp_path / "0", search) as ledger:
        options = WorkerOptions(**{**OPTIONS, "max_trials": 2}, isolate=False)
        Worker(ledger, "run", lambda trial: Job(lambda: len(trial.combination), ""), options).work()
    trials = records(tmp_path / "0")
    assert [trial.metric for trial in trials] == [500, 500]
    assert all(search.space[search.space.index(trial.combination)] == trial.combination for trial in trials)


class Hostile:
    def __repr__(self):
        raise RuntimeError("no repr")

    def item(self):
        raise KeyError("no item")


class Float(float):
    def __float__(self):
        raise ZeroDivisionError


class Interface(Exception):  # noqa: N818 - what a library may well call it
    def __str__(self):
        raise RuntimeError("no str")


def raise_unprintable():
    raise Interface


#: What a training function returns -> what is recorded; or the words of the refusal.
RESULTS = [
    (lambda: 0.5, 0.5),
    (lambda: math.nan, math.nan),
    (lambda: -math.inf, -math.inf),
    (lambda: {"loss": 1, "'; DROP TABLE trial; --": math.nan, "\0/../x": math.inf}, None),
    (lambda: {"loss": 1, "n" * 5000: 2, "\ud800": 3}, None),
    (lambda: None, "return accuracy"),
    (lambda: 10**400, "OverflowError"),
    (lambda: {"loss": 1, "big": 10**5000}, "OverflowError"),
    (lambda: "0.5", "not a number"),
    (lambda: "\ud800\0\x1b" * 1000, "not a number"),
    (lambda: {"loss": {"deeper": 1}}, "not a number"),
    (lambda: {"loss": 1, "other": None}, "not a number"),
    (lambda: {1: 1, "1": 2, "loss": 3}, "two names"),
    (Hostile, "KeyError"),
    (lambda: {"loss": Float(1)}, "ZeroDivisionError"),
    (raise_unprintable, "Interface"),
]


@pytest.mark.parametrize("isolate", [False, True])
def test_every_result_is_recorded_or_refused_and_the_worker_goes_on(isolate, tmp_path, capsys):
    folder = tmp_path / "0"
    search = search_of(*range(len(RESULTS)), metric="loss")
    draw = work(folder, search, lambda trial: RESULTS[trial.combination["x"]][0](), isolate)
    assert draw is Draw.EXHAUSTED
    for (returns, expected), trial in zip(RESULTS, records(folder), strict=True):
        if isinstance(expected, str):
            assert trial.state is TrialState.FAILED
            assert expected in trial.error
            assert trial.metric is trial.result is None
            continue
        assert trial.state is TrialState.FINISHED, trial.error
        assert canonical(trial.result) == canonical(as_floats(returns()))
        metric = trial.result["loss"] if isinstance(trial.result, dict) else trial.result
        assert canonical(trial.metric) == canonical(metric)
    text = run_main(capsys, "trials", folder, *AS_CSV).replace("\0", "")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert (
        len(rows) == len(json.loads(run_main(capsys, "trials", folder, "--format", "json"))) == len(RESULTS)
    )
    assert json.loads(run_main(capsys, "status", folder, "--json"))["best"]["metric"] == "-inf"
    assert not {name for name in names_below(tmp_path) if not NAMES.fullmatch(name)}


def as_floats(returned):
    if isinstance(returned, dict):
        return {name: float(value) for name, value in returned.items()}
    return returned


# ---------------------------------------------------------------- nothing on shared storage is executed

#: Their readers execute what they read.
EXECUTING = {
    "pickle",
    "_pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "shelve",
    "marshal",
    "joblib",
    "jsonpickle",
}


def executing_reads(source):
    """The lines of a source that could execute what lies on shared storage."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module == "cloudpickle" and [alias.name for alias in node.names] == ["dumps"]:
                continue  # it writes
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call):
            names = [] if _is_safe(node) else ["pickle"]
        else:
            continue
        if any(name.partition(".")[0] in EXECUTING or name == "torch.load" for name in names):
            yield node.lineno


def _is_safe(call):
    function = ast.unparse(call.func)
    constants = {word.arg: getattr(word.value, "value", None) for word in call.keywords}
    if function == "torch.load":
        # Where the user says so in so many words, and only there.
        return constants.get("weights_only") is True or "weights_only=weights_only" in ast.unparse(call)
    is_by_name = function in ("__import__", "importlib.import_module") and call.args
    if is_by_name and isinstance(call.args[0], ast.Constant):
        return str(call.args[0].value).partition(".")[0] not in EXECUTING
    if function in ("eval", "exec"):
        return False
    return (
        function.rpartition(".")[2] not in ("read_pickle", "unsafe_load")
        and constants.get("allow_pickle") is not True
    )


@pytest.mark.parametrize("folder", ["dahps_core", "hydra_plugins", "example_app"])
def test_no_module_reads_what_would_be_executed(folder):
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in files
        for line in executing_reads(path.read_text(encoding="utf-8"))
    ]
    assert not found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p",
        "from pickle import loads",
        "import os, shelve",
        "def f():\n    from joblib import load",
        "import joblib.numpy_pickle",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import torch\ntorch.load(path, weights_only=flag)",
        "from torch import load",
        "numpy.load(path, allow_pickle=True)",
        "__import__('pickle')",
        "importlib.import_module('dill')",
        "pandas.read_pickle(path)",
        "yaml.unsafe_load(file)",
        "eval(text)",
    ],
)
def test_such_a_read_would_be_found(source):
    assert list(executing_reads(source))


def test_a_safe_read_is_none():
    assert not list(
        executing_reads("import torch, json\ntorch.load(p, weights_only=True)\njson.load(f)\nmodel.eval()")
    )


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self._mark = mark

    def __reduce__(self):
        return Path.touch, (self._mark,)


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "executed"


@pytest.fixture
def bomb(mark):
    found = pickle.dumps(Bomb(mark))
    pickle.loads(found)
    assert mark.exists(), "the bomb is one"
    mark.unlink()
    return found


def plant(folder, bomb):
    """Put it wherever a ledger's folder has, or may have, a file."""
    workers = [path.name for path in (folder / "heartbeats").glob("*")]
    names = [
        "ledger.db-journal",
        "ledger.gate",
        FILE_NAME,
        "heartbeats/0123456789abcdef",
        "checkpoints/0/checkpoint.pt",
        *(f"heartbeats/{worker}" for worker in workers),
    ]
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bomb)


def test_a_ledger_s_folder_full_of_pickles_executes_nothing(tmp_path, bomb, mark, capsys):
    folder = tmp_path / "0"
    search = search_of(1, 2, 3)
    with Ledger.join(folder, search) as ledger:
        worker = ledger.register(run="dead", host="h", pid=1, job=None)
        ledger.claim(worker, max_trials=None, max_attempts=1, stop_after_failures=None)
        (folder / "heartbeats").mkdir()
        (folder / "heartbeats" / worker).touch()
    plant(folder, bomb)
    with Ledger.join(folder, search) as ledger:
        options = WorkerOptions(
            **{**OPTIONS, "max_attempts": 2, "heartbeat_s": 0.05, "lease_s": 0.1}, isolate=True
        )
        work = Worker(ledger, "run", lambda trial: Job(lambda: trial.combination["x"], ""), options).work
        assert work() is Draw.EXHAUSTED  # it has watched the dead worker's heartbeat, and run its trial again
    assert [trial.metric for trial in records(folder)] == [1, 2, 3]
    run_main(capsys, "status", folder)
    run_main(capsys, "trials", folder)
    with pytest.raises(DahpsError, match="was not written by a worker"):
        unrecorded.read(folder / FILE_NAME)
    assert not mark.exists()


def test_a_pickle_in_place_of_a_ledger_is_refused(tmp_path, bomb, mark, capsys):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "ledger.db").write_bytes(bomb)
    with pytest.raises(DahpsError):
        Ledger.join(tmp_path / "0", search_of(1))
    assert main(["status", str(tmp_path / "0")]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert not mark.exists()


GOOD = Ending(0, 1, "f" * 32, "finished", 0.5, 0.5, None, "out")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", -1),
        ("number", 2**63),
        ("number", True),
        ("attempt", "1"),
        ("token", "\ud800"),
        ("token", ["f"]),
        ("outcome", ["finished"]),
        ("outcome", "'; DROP TABLE trial; --"),
        ("metric", 10**400),
        ("metric", "0.5"),
        ("metric", True),
        ("output_dir", 7),
        ("__class__", "os.system"),
    ],
)
def test_an_unrecorded_result_that_no_worker_wrote_is_refused(name, value, tmp_path):
    path = unrecorded.write(tmp_path, GOOD, tmp_path)
    assert unrecorded.read(path) == GOOD
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(DahpsError, match="was not written by a worker"):
        unrecorded.read(path)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[" * 100_000, b"[]", b"1" * 5000, b"{}", b'{"a": 1}']
)
def test_a_file_that_is_no_unrecorded_result_is_refused(content, tmp_path):
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    with pytest.raises(DahpsError, match="was not written by a worker"):
        unrecorded.read(path)
