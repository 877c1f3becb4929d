import csv
import io
import json
import math
import shlex
import subprocess
import sys
from importlib.metadata import version

import pytest

from dahps_core import Ledger, Search, SearchSpace
from dahps_core.cli import main
from dahps_core.ledger.views.export import AFTER, BEFORE

HOSTILE = 'a, "b"\n<c> größer \\'
LIMITS = {"max_trials": None, "max_attempts": 1, "stop_after_failures": None}


@pytest.fixture
def ledger(tmp_path):
    """Three trials: one finished, one failed, one with NaN; and one combination not drawn yet."""
    space = SearchSpace.from_config(
        {"root": {"key": "x", "values": [1, 2.5, HOSTILE, [1, None]], "default": None}, "repetitions": 2}
    )
    search = Search(space, strategy="grid", direction="maximize", seed=5)
    ledger = Ledger.join(tmp_path / "a ledger, größer", search)
    worker = ledger.register(run="run", host="node1", pid=12, job="77_3")
    claims = [ledger.claim(worker, **LIMITS) for _ in range(5)]
    ledger.finish_if_held(claims[0], result=0.5, metric=0.5, output_dir="out/0")
    ledger.fail_if_held(claims[1], error=HOSTILE, output_dir="out/1")
    ledger.finish_if_held(claims[2], result=math.nan, metric=math.nan, output_dir="out/2")
    ledger.release_if_held(claims[3], output_dir=None)
    yield ledger.folder
    ledger.close()


def test_status_for_programs(ledger, capsys):
    assert main(["status", str(ledger), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["space_size"] == 4
    assert status["repetitions"] == 2
    assert status["trials"] == {
        "running": 1,
        "finished": 2,
        "failed": 1,
        "released": 1,
        "queued": 0,
        "lost": 0,
        "cancelled": 0,
    }
    assert status["workers"] == {"working": 1, "waiting": 0, "left": 0}
    assert status["paused"] is False
    assert status["best"] is None
    assert (status["strategy"], status["direction"], status["seed"]) == ("grid", "maximize", 5)


def test_status_for_people(ledger, capsys):
    assert main(["status", str(ledger)]) == 0
    shown = capsys.readouterr().out
    assert "4 combinations x 2 repetitions, 5 trials drawn" in shown
    assert "2 finished" in shown
    assert "none yet: no combination has metrics of all its 2 repetitions" in shown


def test_the_best_of_repeated_combinations_are_those_with_the_best_mean(ledger, capsys):
    with Ledger.open(ledger) as opened:
        worker = opened.register(run="run", host="node1", pid=12, job=None)
        claims = [opened.claim(worker, **LIMITS) for _ in range(4)]
        for claim, metric in zip(claims[2:], (0.9, 0.0), strict=True):
            opened.finish_if_held(claim, result=metric, metric=metric, output_dir="out")
    assert main(["best", str(ledger)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown] == ["trial", f"#{claims[2].number}"]
    assert "  0.45 ± 0.64 (n=2/2)  " in shown[1]
    assert main(["status", str(ledger)]) == 0
    assert f"0.45 ± 0.64 (n=2/2) (trial #{claims[2].number})" in capsys.readouterr().out
    assert main(["status", str(ledger), "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    assert best["average"] == pytest.approx({"n": 2, "mean": 0.45, "std": 0.6364, "repetitions": 2}, abs=1e-3)


def test_incomplete_combinations_are_left_out_with_a_word(ledger, capsys):
    assert main(["best", str(ledger)]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[1:] == []
    assert told.err == (
        "3 incomplete combinations left out: 2 with repetitions still to run, 1 with a failed, lost or "
        "cancelled repetition (--incomplete ranks those with a metric)\n"
    )
    assert main(["best", str(ledger), "--incomplete"]) == 0
    told = capsys.readouterr()
    assert [line.split()[0] for line in told.out.splitlines()] == ["trial", "#0"]
    assert "  0.5 (n=1/2)  " in told.out
    assert told.err == ""


def test_csv_has_a_row_for_each_trial_and_survives_hostile_values(ledger, capsys):
    assert main(["trials", str(ledger), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == [*BEFORE, "x", *AFTER]
    assert [row["state"] for row in rows] == ["finished", "failed", "finished", "released", "running"]
    assert [row["number"] for row in rows] == list("01234")
    assert rows[1]["error"] == HOSTILE
    assert math.isnan(float(rows[2]["metric"]))
    assert rows[4]["x"] == HOSTILE


def test_json_is_strict_json(ledger, capsys):
    assert main(["trials", str(ledger), "--format", "json"]) == 0

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    trials = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert [trial["repetition"] for trial in trials] == [0, 1, 0, 1, 0]
    assert trials[0]["combination"] == {"x": 1}
    assert trials[0]["worker"] == "node1:12 job 77_3"
    assert trials[0]["ended_at"] >= trials[0]["started_at"] > 0


def test_an_empty_ledger_exports_no_rows(tmp_path, capsys):
    space = SearchSpace.from_config({"root": None})
    Ledger.join(tmp_path, Search(space)).close()
    assert main(["trials", str(tmp_path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["status", str(tmp_path)]) == 0
    assert "none yet" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["status", "trials"])
def test_where_there_is_no_ledger_it_says_so_and_makes_none(command, tmp_path, capsys):
    assert main([command, str(tmp_path / "nowhere")]) == 1
    told = capsys.readouterr().err
    assert "there is no ledger here" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "nowhere").exists()


def test_the_database_in_place_of_its_folder_is_told(ledger, capsys):
    assert main(["status", str(ledger / "ledger.db")]) == 1
    assert capsys.readouterr().err.startswith(f"dahps: {ledger}/ledger.db: this is a file; a ledger is")


def test_a_file_to_recover_from_that_is_not_there_is_told(ledger, tmp_path, capsys):
    assert main(["recover", str(ledger), str(tmp_path / "typo.json")]) == 2
    assert "typo.json' does not exist" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error(ledger):
    words = [sys.executable, "-m", "dahps_core", "trials", str(ledger), "--format", "csv"]
    command = f"{shlex.join(words)} | head -n 1"
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert ended.stderr == ""
    assert ended.stdout.strip() == ",".join([*BEFORE, "x", *AFTER])


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dahps {version('dahps')}\n"


@pytest.mark.parametrize("command", [["status"], ["trials"], ["status", "--json"], ["--help"]])
def test_a_full_disk_is_told_in_one_line(ledger, command):
    words = command if command == ["--help"] else [command[0], str(ledger), *command[1:]]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "dahps_core", *words], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 1
    assert ended.stderr == "dahps: No space left on device.\n"


def test_an_unknown_command_is_a_mistake_of_use(capsys):
    assert main(["stat"]) == 2
    assert "No such command 'stat'" in capsys.readouterr().err
