"""What may lie in a file's place in a ledger's folder: a FIFO, a flood, JSON of any depth."""

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dahps_core.cli import main
from dahps_core.ledger import Ledger, Search
from dahps_core.ledger.folder.configs import keep_configs
from dahps_core.ledger.folder.heartbeat import Heart
from dahps_core.ledger.folder.run_clock import file_of_run
from dahps_core.ledger.folder.run_commands import RunCommand, command_of, keep_command
from dahps_core.ledger.folder.run_limits import RunLimits, limits_of, newest_limits
from dahps_core.ledger.repair.check import violations
from dahps_core.model.combination import Combination
from dahps_core.model.records import Claim
from dahps_core.space import SearchSpace
from dahps_core.text.json_text import MAX_DEPTH, UnreadableJSON, parse_json
from dahps_core.text.small_files import MAX_BYTES, read_json, read_text
from tests.commands import dahps

DEEP = "[" * 100_000


def put_fifo(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def put_deep(path):
    path.write_text(DEEP)


def put_large(path):
    path.touch()
    os.truncate(path, MAX_BYTES + 1)


def put_no_utf8(path):
    path.write_bytes(b'{"run": "\xff"}')


def put_folder(path):
    path.unlink(missing_ok=True)
    path.mkdir()


def put_socket(path):
    path.unlink(missing_ok=True)
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(here)


STRANGE = [put_fifo, put_deep, put_large, put_no_utf8, put_folder, put_socket]


@pytest.mark.parametrize("put", STRANGE)
def test_what_is_no_small_file_of_json_is_refused_at_once(tmp_path, put):
    put(tmp_path / "file")
    with pytest.raises((OSError, ValueError)):
        read_json(tmp_path / "file")
    if put is not put_deep:
        with pytest.raises((OSError, ValueError)):
            read_text(tmp_path / "file")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
)


@given(JSON)
def test_json_that_is_not_deep_is_read_as_it_is(value):
    import json

    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 900, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"x":', "}")])
def test_json_is_read_to_a_depth(depth, opening, closing):
    text = opening * depth + "1" + closing * depth
    if depth <= MAX_DEPTH:
        assert parse_json(text)
    else:
        with pytest.raises(UnreadableJSON, match="deep"):
            parse_json(text)


@pytest.mark.parametrize("text", ["[]", "1", '"x"', "null", DEEP, "{", "9" * 5000])
def test_what_is_no_mapping_is_no_combination(text):
    with pytest.raises(UnreadableJSON):
        Combination.from_json(text)


@pytest.fixture
def ledger(tmp_path):
    space = SearchSpace.from_config({"root": {"key": "x", "values": [1, 2, 3], "default": None}})
    with Ledger.join(tmp_path / "ledger", Search(space, "grid", seed=0)) as ledger:
        worker = ledger.register(run="run", host="host", pid=1, job=None, run_folder=str(tmp_path))
        claim = ledger.claim(worker, max_trials=None, max_attempts=1, stop_after_failures=None)
        assert isinstance(claim, Claim)
        keep_command(ledger.folder, "run", RunCommand(["python", "app.py"], "alone", [], "/"))
        (ledger.folder / "runs").mkdir()
        with Heart(ledger.folder, worker):
            yield ledger


@pytest.mark.parametrize("put", STRANGE)
def test_no_file_beside_a_ledger_hangs_or_ends_a_command(ledger, put):
    [heart] = (ledger.folder / "heartbeats").iterdir()
    strange = [
        heart,
        ledger.folder / "commands" / "run.json",
        file_of_run(ledger.folder, "run"),
        file_of_run(ledger.folder, "run").with_suffix(".json"),
    ]
    for path in strange if put is put_folder else [*strange, ledger.folder / "notices"]:
        put(path)
    for words in (["status"], ["status", "--json"], ["show", "0"], ["pause"], ["trials"]):
        dahps(words[0], ledger.folder, *words[1:])
    assert limits_of(ledger.folder, "run") == RunLimits()
    assert newest_limits(ledger.folder) == ("", RunLimits())
    assert command_of(ledger.folder, "run") is None
    irregular = [one for one in violations(ledger.folder) if "regular" in one]
    assert len(irregular) == (3 + 1 if put in (put_fifo, put_folder, put_socket) else 0)


@pytest.mark.parametrize("put", STRANGE)
def test_configs_and_unrecorded_files_that_cannot_be_read_are_named(ledger, tmp_path, capsys, put):
    keep_configs(ledger.folder, {"app": {"x": 1}}, extend=False)
    put(ledger.folder / "configs" / "0" / "configs.json")
    with pytest.raises(Exception, match=r"configs\.json|configs: the storage refused"):
        keep_configs(ledger.folder, {"app": {"x": 2}}, extend=False)
    put(tmp_path / "dahps-unrecorded.json")
    assert main(["recover", str(ledger.folder), str(tmp_path)]) == 0
    assert "dahps-unrecorded.json: " in capsys.readouterr().out


@pytest.mark.parametrize("put", [put_fifo, put_socket])
def test_what_is_no_file_is_no_ledger(tmp_path, put):
    put(tmp_path / "ledger.db")
    for command in ("status", "check", "recover"):
        assert "is no file" in dahps(command, tmp_path, status=1)
