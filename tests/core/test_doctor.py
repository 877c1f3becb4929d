"""The doctor tells healthy storage from storage with faults, by real processes on both."""

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from dahps_core import Ledger, Search, SearchSpace
from dahps_core.cli import main
from dahps_core.doctor import party
from tests.faults.storage import FaultyStorage
from tests.support import wait_until

CHECKS = 12
BRIEF = ("--seconds", "0.2")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "a folder, größer"
    folder.mkdir()
    return folder


@pytest.fixture
def faulty(folder, tmp_path):
    return FaultyStorage(folder, tmp_path / "control")


@pytest.fixture(autouse=True)
def _outside_of_slurm(monkeypatch):
    for name in list(os.environ):
        if name.startswith("SLURM_"):
            monkeypatch.delenv(name)


def start(folder, *options, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "dahps_core", "doctor", str(folder), *options],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    """Its exit status, what it told, and its errors."""
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def findings(told):
    diagnosis = json.loads(told)
    return diagnosis, {finding["name"]: finding for finding in diagnosis["findings"]}


def processes_in(folder):
    """Those that have the folder in their command line: the forked ones have their parent's."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.fsencode(str(folder)) in (process / "cmdline").read_bytes():
                found.add(int(process.name))
    return found


def test_a_healthy_storage_may_hold_a_ledger_and_the_one_there_is_left_alone(folder, capsys):
    Ledger.join(folder, Search(SearchSpace.from_config({"root": None}))).close()
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("**/*.*")}
    assert before
    assert main(["doctor", str(folder), *BRIEF]) == 0
    told = capsys.readouterr().out
    assert "\nThis storage is safe for a ledger." in told
    assert "FAILED" not in told
    assert "4 processes on 1 host" in told
    assert f"srun -N2 dahps doctor {shlex.quote(str(folder))}" in told
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("**/*.*")} == before


def test_for_programs(folder, capsys):
    assert main(["doctor", str(folder), "--json", *BRIEF]) == 0
    diagnosis, found = findings(capsys.readouterr().out)
    assert diagnosis["may_live"] is True
    assert diagnosis["locking"] == "fcntl"
    assert diagnosis["between_hosts"] is False
    assert diagnosis["hosts"][0]["mount"]
    assert diagnosis["hosts"][0]["bytes_free"] > 0
    assert len(found) == CHECKS
    assert {finding["outcome"] for finding in found.values()} <= {"ok", "slow"}
    assert found["counting"]["numbers"]["found"] > 0
    assert found["transacting"]["numbers"]["claims_per_s"] > 0
    assert not list(folder.iterdir())


def test_a_missing_folder_is_told_and_not_made(folder, capsys):
    assert main(["doctor", str(folder / "nowhere")]) == 1
    told = capsys.readouterr().err
    assert "there is no such folder. Make it first: mkdir -p" in told
    assert told.count("\n") == 1
    assert not list(folder.iterdir())


@pytest.mark.parametrize("option", [("--seconds", "0"), ("--wait", "-1"), ("--together", "0")])
def test_options_that_cannot_be_meant(folder, option, capsys):
    assert main(["doctor", str(folder), *option]) == 1
    assert option[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "kinds", "hint"),
    [
        (errno.EACCES, ("mkdir", "create"), "Request write permission from the folder's owner"),
        (errno.EROFS, ("mkdir", "create", "write"), "It is mounted read-only here"),
        (errno.ENOSPC, ("write",), "Free some space"),
    ],
)
def test_storage_that_refuses_is_an_error_that_says_how_to_mend_it(folder, faulty, error, kinds, hint):
    faulty.fail(error, *kinds)
    status, out, err = ended(start(folder, *BRIEF, **faulty.environment()))
    assert (status, out) == (1, "")
    assert os.strerror(error) in err
    assert str(folder) in err
    assert hint in err
    assert err.count("\n") == 1
    assert not list(folder.iterdir())


def test_locks_that_lie_are_found_out(folder, faulty):
    faulty.locks("lying")
    status, out, err = ended(start(folder, *BRIEF, **faulty.environment()))
    assert (status, err) == (1, "")
    assert (
        "\nThis storage is safe for a ledger only with hydra.sweeper.locking=folder (its locks do not hold)."
        in out
    )
    assert "3 of 3 others got it too" in out
    assert not list(folder.iterdir())


def test_storage_without_locks_is_found_out(folder, faulty):
    faulty.fail(errno.ENOLCK, "lock")
    status, out, err = ended(start(folder, *BRIEF, "--json", **faulty.environment()))
    assert (status, err) == (1, "")
    diagnosis, found = findings(out)
    assert diagnosis["locking"] == "folder"
    assert "No locks available" in found["excluding"]["seen"]
    assert {name for name in found if found[name]["outcome"] == "FAILED"} == {
        *("excluding", "counting", "inserting")
    }


def test_writes_that_cannot_be_made_durable_are_found_out(folder, faulty):
    faulty.fail(errno.EIO, "fsync")
    status, out, err = ended(start(folder, *BRIEF, **faulty.environment()))
    assert (status, err) == (1, "")
    assert "\nThis storage is not safe for a ledger: these checks failed:" in out
    assert "Input/output error" in out


def test_slow_storage_is_told_with_what_was_measured(folder, faulty):
    faulty.delay(0.05, "write")
    status, out, err = ended(start(folder, *BRIEF, "--json", **faulty.environment()))
    assert (status, err) == (0, "")
    diagnosis, found = findings(out)
    assert diagnosis["verdict"] == "This storage is safe for a ledger. It will be slow, as reported above."
    assert found["syncing"]["outcome"] == found["transacting"]["outcome"] == "slow"
    assert 0.05 <= found["syncing"]["numbers"]["p50_s"] <= found["syncing"]["numbers"]["longest_s"]
    assert found["transacting"]["numbers"]["p50_s"] >= 0.1  # more than one write
    assert not list(folder.iterdir())


def test_a_rank_that_does_not_come_is_an_error(folder):
    slurm = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "3", "SLURM_PROCID": "1"}
    status, out, err = ended(start(folder, *BRIEF, "--wait", "0.3", **slurm))
    assert (status, out) == (1, "")
    assert "2 of 3 processes did not arrive within 0.3 s" in err
    assert "rank 0, rank 2" in err
    assert "--wait SECONDS" in err
    assert not list(folder.iterdir())


def test_commands_started_by_hand_find_each_other(folder):
    left_by_one_that_was_killed = folder / f"{party.PREFIX}of-2" / "0123.4"
    left_by_one_that_was_killed.parent.mkdir()
    left_by_one_that_was_killed.touch()
    both = [start(folder, *BRIEF, "--together", "2") for _ in range(2)]
    answers = [ended(process) for process in both]
    assert [(status, err) for status, _, err in answers] == [(0, "")] * 2
    (told,) = [out for _, out, _ in answers if out]
    assert "4 processes of 2 ranks on 1 host" in told
    assert [path.name for path in folder.iterdir()] == [left_by_one_that_was_killed.parent.name]


def test_one_that_is_alone_where_two_should_be_says_so(folder):
    status, out, err = ended(start(folder, "--together", "2", "--wait", "0.3"))
    assert (status, out) == (1, "")
    assert "only 1 of 2 processes arrived" in err
    assert not list(folder.iterdir())


def at_work(folder, *options):
    """A doctor in the middle of a check that does not end by itself."""
    process = start(folder, "--seconds", "600", *options)
    wait_until(lambda: list(folder.glob("*/prepared.3")), 60, "the start of the checks")
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_doctor_that_is_told_to_stop_leaves_nothing(folder, number):
    process = at_work(folder)
    assert len(processes_in(folder)) >= 5
    process.send_signal(number)
    status, out, err = ended(process)
    assert (status, out) == (128 + number, "")
    assert "Traceback" not in err
    assert not list(folder.iterdir())
    assert not processes_in(folder)


def children(pid):
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


@pytest.mark.parametrize("index", range(4))
def test_a_process_that_dies_ends_the_doctor_with_an_error(folder, index):
    process = at_work(folder)
    member = children(process.pid)[index]
    # Killed while it has one of its own, which holds a lock or waits for one.
    wait_until(lambda: children(member), 60, "a process of its own", pause_s=0)
    os.kill(member, signal.SIGKILL)
    status, _, err = ended(process)
    assert status == 1
    assert "a process of the doctor ended with exit code -9" in err
    assert not list(folder.iterdir())
    wait_until(lambda: not processes_in(folder), 60, "the end of its own processes")


def test_one_that_fails_on_another_host_ends_all(folder):
    slurm = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2"}
    ranks = [start(folder, "--seconds", "3", **slurm, SLURM_PROCID=str(rank)) for rank in range(2)]
    wait_until(lambda: list(folder.glob("*/prepared.3")), 60, "the start of the checks")
    ranks[1].terminate()
    status, out, err = ended(ranks[0])
    assert (status, out) == (1, "")
    assert "the doctor was ended by another of its processes" in err
    assert ended(ranks[1])[0] == 128 + signal.SIGTERM
    assert not list(folder.iterdir())


def test_processes_whose_parent_was_killed_end_by_themselves(folder):
    process = start(folder, "--seconds", "1")
    wait_until(lambda: list(folder.glob("*/prepared.3")), 60, "the start of the checks")
    process.kill()
    process.communicate()
    wait_until(lambda: not processes_in(folder), 60, "the end of the processes")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, None),  # a batch script
        (
            {"SLURM_STEP_ID": "4294967291", "SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"},
            None,
        ),
        ({"SLURM_STEP_ID": "0", "SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, None),
        (
            {"SLURM_STEP_ID": "2", "SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "3"},
            (3, 4, ".dahps-doctor-7.2.0"),
        ),
        (
            {
                "SLURM_STEP_ID": "2",
                "SLURM_JOB_ID": "7",
                "SLURM_NTASKS": "4",
                "SLURM_PROCID": "1",
                "SLURM_STEP_NUM_TASKS": "2",
                "SLURM_RESTART_COUNT": "5",
            },
            (1, 2, ".dahps-doctor-7.2.5"),
        ),
    ],
)
def test_what_slurm_tells(environment, expected):
    found = party.party_of_slurm(environment)
    assert found == (None if expected is None else party.Party(*expected))
