"""Nothing that a ledger is named, or holds, does anything to a terminal or to a shell it is pasted into."""

import os
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dahps_core.cli import main
from dahps_core.errors import ConfigurationError
from dahps_core.ledger import Ledger, Search
from dahps_core.model.records import Claim, Ending
from dahps_core.space import SearchSpace
from dahps_core.text.printing import pasted, printable, printable_lines

#: ESC and C1 sequences, a line end, the other direction, a quote, a backslash, and a byte that is no UTF-8.
HOSTILE = b"\x1b]0;owned\x07\x1b[31m\xc2\x9b5m\n\r\t\xe2\x80\xae'\\\"$(exit)\xff"

ALL_CHARACTERS = "".join(map(chr, [*range(1, 0x2FF), 0x2028, 0x202E, 0xFEFF, 0xE0001, 0x1F642]))

SHELLS = [shell for shell in ("bash", "zsh") if shutil.which(shell)]


def as_read_by(shell, command):
    ended = subprocess.run(
        [shell, "-c", f"printf '%s\\0' {command}".encode("utf-8", "surrogateescape")],
        capture_output=True,
        check=True,
        env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
    )
    return ended.stdout.split(b"\0")[:-1]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_reads_every_character_as_it_was(shell):
    words = [*ALL_CHARACTERS, ALL_CHARACTERS, "", "a b", os.fsdecode(HOSTILE), "\x80abc", "\x9f1"]
    command = pasted(words)
    assert command.isprintable()
    assert as_read_by(shell, command) == [word.encode("utf-8", "surrogateescape") for word in words]


@given(st.text())
def test_what_is_printed_is_printable_and_keeps_its_line_ends(text):
    assert printable(text).isprintable()
    assert [*map(str.isprintable, printable_lines(text).split("\n"))] == [True] * (text.count("\n") + 1)
    assert (printable(text) == text) == text.isprintable()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / os.fsdecode(HOSTILE)
    space = SearchSpace.from_config({"root": {"key": "x", "values": [1, 2, "\x9b\x1b"], "default": None}})
    with Ledger.join(folder, Search(space, "grid", seed=0)) as ledger:
        worker = ledger.register(run="run", host="\x1b[1m", pid=1, job="\x9b", log=str(folder / "log\x1b"))
        told = {"finished": {"result": 0.5, "metric": 0.5}, "failed": {"error": "\x1b\x9b"}}
        for outcome, what in told.items():
            claim = ledger.claim(worker, max_trials=None, max_attempts=1, stop_after_failures=None)
            assert isinstance(claim, Claim)
            output = str(folder / "output\x1b")
            ledger.end_if_held(
                Ending(claim.number, claim.attempt, claim.token, outcome, output_dir=output, **what)
            )
    return folder


COMMANDS = [
    *(["status"], ["trials"], ["best"], ["show", "0"], ["show", "1"], ["show", "9"], ["logs", "0"]),
    *(["check"], ["pause"], ["status"], ["resume"], ["stop"], ["retry", "1"], ["cancel", "1"]),
    *(["enqueue", "x=1"], ["enqueue", "x=\x1b"], ["enqueue", "\x1b=1"], ["space"], ["recover"]),
    *(["recover", "\x1b"], ["report", "-o", "\x1b/report.html"], ["report", "--\x1b"], ["cancel", "\x1b"]),
    *(["trials", "--sort", "\x1b"], ["trials", "\x1b=1"], ["trials", "-o", "\x1b/\x9b"], ["show", "\x1b"]),
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: ascii(" ".join(words)))
def test_no_command_sends_a_terminal_what_a_ledger_is_named(folder, capsys, words):
    command, *rest = words
    main([command, str(folder), *rest])
    told = capsys.readouterr()
    assert told.out + told.err
    strange = [char for char in told.out + told.err if not char.isprintable() and char != "\n"]
    assert not strange
    if command in ("check", "pause"):
        assert "\\x1b]0;owned\\x07" in told.out


@pytest.mark.parametrize(
    "words",
    [["\x1b"], ["--\x1b"], ["status", "\x1b"], ["check", "\x1b\n"], ["space", "\x1b:x"], ["doctor", "\x1b"]],
)
def test_nor_what_a_command_line_says(capsys, words):
    assert main(words) in (1, 2)
    told = capsys.readouterr().err
    assert "\\x1b" in told
    assert not [char for char in told if not char.isprintable() and char != "\n"]


def test_an_error_is_harmless_however_it_is_shown():
    error = ConfigurationError("no \x1b\nand no \x9b", where="a\nb\x1b", hint="not \u202e")
    assert str(error) == "a\\nb\\x1b: no \\x1b\nand no \\x9b. not \\u202e."
    assert error.where == "a\nb\x1b"
