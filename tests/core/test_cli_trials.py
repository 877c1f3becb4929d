"""`dahps trials`, `best`, `show`, `logs`, `space`: through the real command."""

import csv
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

from dahps_core import Ledger, Search, SearchSpace
from dahps_core.cli.space import read_space
from dahps_core.ledger.views.export import AFTER, BEFORE
from dahps_core.model.records import Report
from dahps_core.strategies.brackets import Brackets
from tests.commands import dahps, on_a_terminal

LIMITS = {"max_trials": None, "max_attempts": 1, "stop_after_failures": None}
HOSTILE = "<script>[red]\x1b[31m\r\nx"
SIZES = {"key": "size", "values": [16, "16", None], "default": None}
SPACE = {"key": "model", "values": ["vit", HOSTILE], "cases": {"vit": SIZES}, "default": None}
SEEDS = Path(__file__).parents[2] / "example_app/conf/search/seeds.yaml"
COMMANDS = [
    ["status"],
    ["status", "--json"],
    ["trials"],
    ["trials", "--format", "json"],
    ["trials", "--columns", "combination,error,worker"],
    ["best"],
    ["show", "3"],
    ["logs", "3"],
    ["space"],
]


@pytest.fixture
def folder(tmp_path):
    """Three combinations of one branch have finished; one of the other branch failed, with logs."""
    out = tmp_path / "out put"
    out.mkdir()
    (out / "train.log").write_bytes(b"epoch 1\n\x1b[31mred\xff\n")
    (tmp_path / "job.log").write_text("slurmstepd: error: Exceeded memory\n")
    search = Search(SearchSpace.from_config({"root": SPACE}), strategy="grid")
    with Ledger.join(tmp_path / "a ledger", search) as ledger:
        worker = ledger.register(
            run="run", host=f"node1{HOSTILE}", pid=12, job="77_3", log=str(tmp_path / "job.log")
        )
        for metric in (0.5, float("nan"), 0.25):
            claim = ledger.claim(worker, **LIMITS)
            ledger.record_history(claim, [Report(step, 1 / (step + 1)) for step in range(100)])
            ledger.finish_if_held(claim, result=metric, metric=metric, output_dir=str(out))
        claim = ledger.claim(worker, **LIMITS)
        ledger.fail_if_held(claim, error=f"ValueError: {HOSTILE}\udc80", output_dir=str(out))
    return ledger.folder


def rows(folder, *words):
    return list(csv.DictReader(io.StringIO(dahps("trials", folder, *words, "--format", "csv"), newline="")))


def test_each_key_is_a_column_and_blank_where_it_does_not_apply(folder):
    found = rows(folder)
    assert list(found[0]) == [*BEFORE, "model", "size", *AFTER]
    assert [row["size"] for row in found] == ["16", "16", "null", ""]
    table = dahps("trials", folder).splitlines()
    assert table[0].split() == ["number", "state", "metric", "model", "size"]
    assert [line.split()[-1] for line in table[1:4]] == ["16", "'16'", "null"]


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["model=vit"], "012"),
        (["size=null"], "2"),
        (["size='16'"], "1"),
        (["size='16',null"], "12"),
        (["size='16'", "size=null", "model=vit"], "12"),
        (["--state", "failed"], "3"),
        (["--sort", "metric"], "20"),
        (["--sort", "size"], "0123"),
        (["--limit", "2"], "01"),
        (["--sort", "metric", "--limit", "1"], "2"),
    ],
)
def test_trials_are_chosen_and_sorted(folder, words, numbers):
    assert "".join(row["number"] for row in rows(folder, *words)) == numbers


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["modl=vit"], "Did you mean model?"),
        (["size=17"], "the space has no size='17'. Its values are 16, null, '16'"),
        (["vit"], "'vit' is not key=value"),
        (["--columns", "number,nothing"], "there is no column 'nothing'"),
        (["--format", "parquet"], "Name one: -o FILE"),
    ],
)
def test_what_trials_cannot_mean_is_told(folder, words, message):
    assert message in dahps("trials", folder, *words, status=1)


@pytest.mark.parametrize("columns", [80, 250])
def test_a_terminal_without_room_for_all_keys_gets_the_combination_in_one_column(tmp_path, columns):
    with Ledger.join(tmp_path, Search(read_space(str(SEEDS)))) as ledger:
        ledger.claim(ledger.register(run="run", host="h", pid=1, job=None), **LIMITS)
    with on_a_terminal("trials", tmp_path, columns=columns) as terminal:
        shown = terminal.read_until().splitlines()
    assert ("combination" in shown[0]) is (columns == 80)
    assert max(map(len, shown)) <= columns
    assert "combination" not in dahps("trials", tmp_path)


def test_a_key_with_the_name_of_a_column_is_told_apart(tmp_path):
    space = SearchSpace.from_config({"root": {"key": "state", "values": ["on"], "default": None}})
    with Ledger.join(tmp_path, Search(space)) as ledger:
        ledger.claim(ledger.register(run="run", host="h", pid=1, job=None), **LIMITS)
    [row] = rows(tmp_path)
    assert (row["state"], row["combination.state"]) == ("running", "on")


def test_parquet_and_a_data_frame_hold_the_same(folder, tmp_path):
    dahps("trials", folder, "model=vit", "--format", "parquet", "-o", tmp_path / "trials.parquet")
    read = pandas.read_parquet(tmp_path / "trials.parquet").set_index("number")
    with Ledger.open(folder) as ledger:
        frame = ledger.to_frame()
    assert list(frame.index) == [0, 1, 2, 3]
    assert list(read["metric"].dropna()) == list(frame["metric"].dropna()) == [0.5, 0.25]
    assert list(frame["size"])[:2] == [16, "16"]
    assert list(read["size"])[:2] == ["16", "16"]


def test_a_notebook_shows_values_and_no_markup_of_theirs(tmp_path):
    space = SearchSpace.from_config({"root": {"key": "x", "values": [HOSTILE], "default": None}})
    with Ledger.join(tmp_path / "<b>", Search(space)) as ledger:
        claim = ledger.claim(ledger.register(run="run", host="h", pid=1, job=None), **LIMITS)
        ledger.finish_if_held(claim, result=1.0, metric=1.0, output_dir=None)
        html = ledger._repr_html_()
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    assert "&lt;b&gt;" in html


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_hostile_values_are_shown_and_do_nothing(folder, command):
    shown = dahps(command[0], folder, *command[1:])
    assert not [char for char in shown if not char.isprintable() and char not in "\n\t"]
    assert shown.strip()


def test_the_best_is_the_one_of_status(folder):
    shown = dahps("best", folder, "-k", "1").splitlines()
    assert len(shown) == 2
    assert shown[1].startswith("#2  ")
    assert "0.25 (trial #2)" in dahps("status", folder)


def test_the_best_of_levels_is_the_one_of_the_highest(tmp_path):
    space = SearchSpace.from_config({"root": {"key": "x", "values": [*range(9)], "default": None}})
    search = Search(space, strategy="asha", brackets=Brackets.of(max_resource=9, brackets=1))
    with Ledger.join(tmp_path, search) as ledger:
        worker = ledger.register(run="run", host="h", pid=1, job=None)
        for _ in range(6):
            claim = ledger.claim(worker, **LIMITS)
            metric = float(claim.number + 10 * claim.level)
            ledger.finish_if_held(claim, result=metric, metric=metric, output_dir=None)
        best = ledger.best()
    assert best.level
    assert dahps("best", tmp_path).splitlines()[1].split()[:3] == [
        f"#{best.number}",
        str(best.metric),
        str(best.resource),
    ]


def test_a_trial_s_overrides_can_be_pasted(folder):
    shown = dahps("show", folder, 3)
    [line] = [line for line in shown.splitlines() if line.startswith("overrides")]
    pasted = subprocess.check_output(
        ["bash", "-c", f"printf '%s\\0' {line.removeprefix('overrides')}"],
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    [word] = pasted.decode(errors="surrogateescape").split("\0")[:-1]
    assert word.startswith("model='<script>[red]\x1b[31m\r\nx")
    assert "ValueError" in shown
    assert "77_3" in shown


def test_where_no_command_runs_a_trial_alone_show_says_how_it_can_run_again(folder):
    shown = dahps("show", folder, 3)
    [line] = [line for line in shown.splitlines() if line.startswith("run alone")]
    command = shlex.join(["dahps", "retry", str(folder), "3"])
    assert line == f"run alone   no command is known; it runs before all new trials, after: {command}"
    assert "run alone   no command is known: a script drew" in dahps("show", folder, 0)


def test_a_trial_s_history_is_drawn(folder):
    shown = dahps("show", folder, 0)
    assert "100 steps: first 1, last 0.01, from 0.01 to 1\n" in shown
    assert "█" in shown
    in_ascii = dahps("show", folder, 0, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert "#" in in_ascii.split("history")[1].splitlines()[0]
    assert "\\u" not in in_ascii.split("history")[1].splitlines()[0]
    assert str(folder.parent / "out put" / "train.log") in shown


def test_logs_are_those_of_the_trial_and_of_its_job(folder):
    shown = dahps("logs", folder, 3)
    assert shown.splitlines() == [
        f"==> {folder.parent / 'out put' / 'train.log'} <==",
        "epoch 1",
        "\\x1b[31mred\\xff",
        f"==> {folder.parent / 'job.log'} <==",
        "slurmstepd: error: Exceeded memory",
    ]
    assert "has no attempt 7" in dahps("logs", folder, 3, "--attempt", 7, status=1)
    assert "was never drawn" in dahps("logs", folder, 99, status=1)


def test_the_seeds_tree_fits_a_screen():
    shown = dahps("space", SEEDS).splitlines()
    assert shown[0] == "1,719,168 combinations"
    assert len(shown) <= 50
    assert max(map(len, shown)) <= 100


@pytest.mark.parametrize("wrap", [lambda tree: tree, lambda tree: tree["root"]])
def test_a_space_is_read_from_a_file_a_module_and_a_ledger(wrap, tmp_path):
    tree = {"root": {"key": "x", "values": [1, 2], "default": None}}
    (tmp_path / "tree.yaml").write_text(json.dumps(wrap(tree)))
    (tmp_path / "module.py").write_text(f"tree = {wrap(tree)!r}")
    Ledger.join(tmp_path / "ledger", Search(SearchSpace.from_config(tree))).close()
    for config in ("tree.yaml", "module:tree", "ledger"):
        assert dahps("space", config, cwd=tmp_path) == "2 combinations\nx: 1, 2\n"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("nothing.yaml", "there is no such file"),
        ("nothing:tree", "it cannot be imported"),
        ("broken.yaml", "not valid YAML"),
        ("list.yaml", "a search space is a mapping"),
        ("composed.yaml", "--cfg hydra --resolve -p hydra.sweeper.search"),
        (".", "there is no ledger here"),
    ],
)
def test_what_is_no_space_is_told(config, message, tmp_path):
    (tmp_path / "broken.yaml").write_text("{")
    (tmp_path / "list.yaml").write_text("[1]")
    (tmp_path / "composed.yaml").write_text("defaults: [optimizer@root.default: sgd]\nroot: {key: x}\n")
    assert message in dahps("space", config, status=1, cwd=tmp_path)


def test_a_trial_that_was_never_drawn_is_told(folder):
    assert "trial 99 was never drawn" in dahps("show", folder, 99, status=1)


def test_commands_read_while_workers_write(tmp_path):
    deep = {"key": "y", "values": [*range(1000)], "default": None}
    space = SearchSpace.from_config({"root": {"key": "x", "values": [*range(1000)], "default": deep}})
    words = ["status", "trials", "best"]
    with Ledger.join(tmp_path, Search(space)) as ledger:
        worker = ledger.register(run="run", host="h", pid=1, job=None)
        reading = [
            subprocess.Popen(
                [sys.executable, "-m", "dahps_core", word, str(tmp_path)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for word in words
        ]
        while any(process.poll() is None for process in reading):
            claim = ledger.claim(worker, **LIMITS)
            ledger.finish_if_held(claim, result=1.0, metric=1.0, output_dir=None)
    for process in reading:
        with process:
            assert (process.returncode, process.stderr.read()) == (0, "")


FORMULAS = ["=1+1", "+1+1", "-1+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", "\n=1"]
NUMBERS = [-1, -0.5, -1e-30, "-1", "+2.5e-3", "- 1", "a=b", "", "'=1"]


def test_no_text_is_a_formula_in_a_spreadsheet_and_numbers_stay_numbers(tmp_path):
    space = {"root": {"key": "+x", "values": [*FORMULAS, *NUMBERS], "default": None}}
    with Ledger.join(tmp_path / "ledger", Search(SearchSpace.from_config(space), strategy="grid")) as ledger:
        worker = ledger.register(run="run", host="h", pid=1, job=None)
        for _ in [*FORMULAS, *NUMBERS]:
            claim = ledger.claim(worker, **LIMITS)
            ledger.finish_if_held(claim, result=-1.5, metric=-1.5, output_dir="=out")
        ledger.retire(worker)
    found = rows(ledger.folder, "--spreadsheet")
    plain = ["-1", "-0.5", "-1e-30", "-1", "+2.5e-3", "'- 1", "a=b", "", "'=1"]
    read = [text.replace("\r", "\n") for text in FORMULAS]  # as the pipe's reader translates it
    assert [row["'+x"] for row in found] == [*(f"'{text}" for text in read), *plain]
    assert {row["metric"] for row in found} == {"-1.5"}
    assert {row["output_dir"] for row in found} == {"'=out"}
    assert [row["+x"] for row in rows(ledger.folder)][: len(FORMULAS)] == read
    assert "csv" in dahps("trials", ledger.folder, "--spreadsheet", status=1)
