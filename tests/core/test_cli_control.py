"""`dahps pause`, `resume`, `stop`, `cancel`, `retry`, `enqueue`: what they do, print and refuse."""

import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dahps_core import Ledger, Search, SearchSpace
from dahps_core.cli import main
from dahps_core.cli.combinations import typed_combinations
from dahps_core.errors import OverrideError
from dahps_core.model.records import Claim, Draw
from dahps_core.space.overrides import to_overrides

LIMITS = {"max_trials": None, "max_attempts": 1, "stop_after_failures": None}
SIZES = {"key": "size", "values": [16, "16", 32, "a, b", [1, 2], '{"a":1}', {"a": 1}], "default": None}
DEPTHS = {"key": "depth", "values": [1, 2], "default": None}
MODELS = {"key": "model", "values": ["resnet", "deit"], "cases": {"deit": SIZES}, "default": DEPTHS}
SPACE = SearchSpace.from_config({"root": MODELS, "common": {"lr": 0.1}})


@pytest.fixture
def ledger(tmp_path):
    """The first trial has finished, the second failed, the third runs."""
    with Ledger.join(tmp_path / "a ledger", Search(SPACE, strategy="grid")) as ledger:
        ledger.worker = ledger.register(run="run", host="node1", pid=12, job=None)
        claims = [ledger.claim(ledger.worker, **LIMITS) for _ in range(3)]
        ledger.finish_if_held(claims[0], result=0.5, metric=0.5, output_dir="out/0")
        ledger.fail_if_held(claims[1], error="boom", output_dir="out/1")
        ledger.running = claims[2]
        yield ledger


@pytest.fixture
def dahps(ledger, capsys):
    """Run a command on the ledger; what it printed, and what it said on standard error."""

    def run(command, *words):
        status = main([command, str(ledger.folder), *words])
        told = capsys.readouterr()
        assert status == (1 if told.err else 0)
        assert "Traceback" not in told.err
        return told

    return run


def test_pause_and_resume(ledger, dahps):
    told = dahps("pause").out
    command = shlex.join(["dahps", "resume", str(ledger.folder)])
    assert told.startswith("paused: 1 worker is running")
    assert f"resume with: {command}" in told
    assert ledger.claim(ledger.worker, **LIMITS) is Draw.PAUSED
    assert command in dahps("status").out
    assert json.loads(dahps("status", "--json").out)["paused"] is True
    assert "resumed: 1 worker is running" in dahps("resume").out
    assert isinstance(ledger.claim(ledger.worker, **LIMITS), Claim)
    assert "not paused" in dahps("resume").out
    assert "paused" not in dahps("status").out


def test_stop(ledger, dahps):
    ledger.register(run="other", host="node2", pid=1, job=None)
    assert "2 workers are running; each finishes its current trial" in dahps("stop").out
    assert ledger.claim(ledger.worker, **LIMITS) is Draw.STOPPED
    assert not ledger.is_to_release(ledger.worker)
    assert "each releases its trial" in dahps("stop", "--now").out
    assert ledger.is_to_release(ledger.worker)
    assert "workers 1 silent, 1 gone" in dahps("status").out


def test_cancel(ledger, dahps):
    told = dahps("cancel", "2", "1").out
    assert "trial #2 is cancelled; it was running" in told
    assert "trial #1 is cancelled\n" in told
    assert shlex.join(["dahps", "retry", str(ledger.folder), "2", "1"]) in told
    assert not ledger.is_held(ledger.running)
    assert "it was already" in dahps("cancel", "1").out
    assert "2 cancelled" in dahps("status").out


def test_retry(ledger, dahps):
    assert "#1" in dahps("retry", "--failed").out
    assert "no failed or lost trials" in dahps("retry", "--failed").out
    assert ledger.claim(ledger.worker, **LIMITS).number == 1
    dahps("cancel", "1")
    assert "#1" in dahps("retry", "1").out
    ledger.retire(ledger.worker)
    dahps("cancel", "1")
    assert "no worker is running" in dahps("retry", "1").out


def test_enqueue(ledger, dahps):
    told = dahps("enqueue", "model=deit,resnet", "size=32,16,a, b", "depth=1")
    assert told.err.startswith("dahps: enqueue: ")
    told = dahps("enqueue", "size=32,16,a, b", "model=deit").out.splitlines()
    assert told == [
        "trial #3 is queued: lr=0.1 model=deit size=32",
        "trial #2 is running already, and not run twice: lr=0.1 model=deit size=16",
        "trial #4 is queued: lr=0.1 model=deit size='a, b'",
    ]
    assert [ledger.claim(ledger.worker, **LIMITS).combination["size"] for _ in range(2)] == [32, "a, b"]
    dahps("pause")
    told = dahps("enqueue", "lr=0.1", "model=resnet", "depth=2,1").out
    assert "trial #1 is failed already" in told
    assert "trial #0 is finished already" in told
    assert f"run again with: {shlex.join(['dahps', 'retry', str(ledger.folder), '1'])}\n" in told
    assert "the search is paused" in told


def test_enqueue_draws_the_keys_that_are_not_given(ledger, dahps):
    before = ledger.n_drawn
    for _ in range(3):
        assert "is queued: lr=0.1 model=deit size=" in dahps("enqueue", "model=deit").out
    queued = list(ledger.trials(before))
    assert len({trial.combination.digest() for trial in queued}) == 3
    assert {trial.combination["model"] for trial in queued} == {"deit"}
    assert "there is no size=99" in dahps("enqueue", "size=99").err
    assert "with these values together" in dahps("enqueue", "depth=1", "size=16").err
    assert ledger.n_drawn == before + 3


def test_enqueue_completes_a_number_of_an_interval(tmp_path):
    then = {"key": "n", "values": [1, 2], "default": None}
    root = {"key": "rate", "interval": [1e-4, 0.1], "log": True, "default": then}
    folder = tmp_path / "intervals"
    with Ledger.join(folder, Search(SearchSpace.from_config({"root": root}))) as ledger:
        assert main(["enqueue", str(folder), "rate=0.0123456"]) == 0
        (trial,) = ledger.trials()
        assert trial.combination["rate"] == 0.0123456
        assert trial.combination["n"] in (1, 2)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["cancel", "0"], "trial 0 is finished; finished trials cannot be changed"),
        (["cancel", "1", "99", "-1"], "trial 99 was never drawn; trial -1 was never drawn"),
        (["retry", "2"], "trial 2 is running"),
        (
            ["retry", "0", "7"],
            "trial 0 is finished; finished trials cannot be changed; trial 7 was never drawn",
        ),
        (["retry"], "give the numbers of trials, or --failed"),
        (["retry", "1", "--failed"], "give the numbers of trials, or --failed"),
        (["enqueue"], "model is missing. Its values there are resnet, deit"),
        (["enqueue", "modl=deit", "size=16"], "model is missing (did you mean modl?)"),
        (["enqueue", "model=vit", "size=16"], "there is no model=vit. Its values there are resnet, deit"),
        (["enqueue", "model=deit", "size=16.0"], "there is no size=16.0"),
        (["enqueue", "model=deit,vit", "size=16"], "there is no model=deit,vit"),
        (["enqueue", "model=deit", "size=16", "depth=1"], "lr=0.1 model=deit size=16 does not decide depth"),
        (["enqueue", "model=deit", "size=16", "zzz=1"], "does not decide zzz"),
        (
            ["enqueue", "model=deit", 'size={"a":1}'],
            "can mean several values. Write one of '{\"a\":1}', {a:1}",
        ),
        (["enqueue", "model=deit", "model=resnet"], "model is given twice. Write model=deit,resnet for both"),
        (["enqueue", "model"], "'model' is not key=value"),
        (["enqueue", "lr=0.2", "model=deit", "size=16"], "there is no lr=0.2. Its values there are 0.1"),
    ],
)
def test_what_cannot_be_meant_is_told_and_changes_nothing(ledger, dahps, command, words):
    before = [*ledger.trials()]
    told = dahps(*command)
    assert told.out == ""
    assert told.err.startswith("dahps: ")
    assert told.err.count("\n") == 1
    assert words in told.err
    assert [*ledger.trials()] == before


@pytest.mark.parametrize("command", ["pause", "resume", "stop", "cancel 1", "retry 1", "enqueue x=1"])
def test_where_there_is_no_ledger_it_says_so_and_makes_none(command, tmp_path, capsys):
    name, *words = command.split()
    assert main([name, str(tmp_path / "nowhere"), *words]) == 1
    assert "there is no ledger here" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()


TEXTS = st.text("a1,'\"[]{}: \\", max_size=5)
SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=False) | TEXTS
VALUES = st.lists(SCALARS | st.lists(SCALARS, max_size=2), min_size=1, max_size=5)


@given(VALUES, st.data())
def test_each_value_is_meant_by_its_override_and_several_by_commas_between_them(values, data):
    space = SearchSpace.from_config(
        {"root": {"key": "x", "values": values, "default": None}, "check_unique": False}
    )
    some = data.draw(st.lists(st.sampled_from(range(len(values))), min_size=1, max_size=3))
    try:
        texts = [to_overrides({"x": values[choice]})[0].removeprefix("x=") for choice in some]
    except OverrideError:
        return
    assert next(typed_combinations(space, [f"x={texts[0]}"])) == space[some[0]]
    # The longest text that is known is meant, so that one value may be made of others.
    found = list(typed_combinations(space, [f"x={','.join(texts)}"]))
    known = [to_overrides({"x": value})[0].removeprefix("x=") for value in values]
    if not any("," in text for text in known):
        expected = {space[choice] for choice in some}
        assert set(found) == expected
        assert len(found) == len(expected)
