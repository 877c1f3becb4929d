"""A search that goes on without its sweeper: Ctrl-C as a terminal sends it, and detach=true."""

import fcntl
import os
import pty
import shlex
import signal
import termios
from contextlib import contextmanager
from pathlib import Path

import pytest

from dahps_core.ledger import Ledger
from tests.support import wait_until
from tests.sweeper.conftest import override

ON_SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=20", "hydra.sweeper.n_workers=4"]
LOCALLY = ["hydra/launcher=submitit_local", "hydra.sweeper.n_workers=2"]
N_TRIALS = 8


@pytest.fixture
def gate(app):
    gate = app.folder / "gate"
    yield gate
    gate.touch()


@contextmanager
def at_a_terminal(app, *overrides):
    """The sweep as the foreground job of a terminal, and what presses Ctrl-C there."""
    terminal, inside = pty.openpty()
    sweep = app.start(
        f"x=range({N_TRIALS})",
        *overrides,
        stdin=inside,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    try:
        yield sweep, lambda: os.write(terminal, b"\x03")
    finally:
        if sweep.poll() is None:
            sweep.kill()
            sweep.wait()
        os.close(inside)
        os.close(terminal)


def trial_processes(app):
    """Those that have recorded a run, and live."""
    pids = [line.split()[2] for line in app.record.read_text().splitlines()]
    return [pid for pid in pids if Path("/proc", pid).exists()]


def commands(output, *program):
    """The commands in what a person was told, to copy."""
    told = [shlex.split(line.partition(":")[2]) for line in output.splitlines() if line.startswith("  ")]
    return [command for command in told if command[: len(program)] == list(program)]


def assert_told_how_to_go_on(app, output):
    assert "Traceback" not in output
    assert commands(output, "dahps", "status") == [["dahps", "status", str(app.ledger)]]
    assert ["dahps", "stop", str(app.ledger)] in commands(output, "dahps", "stop")


def assert_search_ended(app):
    wait_until(lambda: app.status()["trials"]["finished"] == N_TRIALS, 120, "the end of the search")
    assert app.runs() == {(number, 1): 1 for number in range(N_TRIALS)}


@pytest.mark.slurm
def test_ctrl_c_leaves_the_workers_running(app, slurm, gate):
    with at_a_terminal(app, override("wait_for", gate), *ON_SLURM) as (sweep, press_ctrl_c):
        wait_until(lambda: len(app.runs()) == 4, 120, "four running trials")
        array = min(slurm.squeue(), key=int)
        press_ctrl_c()
        outcome = app.wait(sweep)
    assert outcome.code == 130, outcome.output
    assert_told_how_to_go_on(app, outcome.output)
    assert commands(outcome.output, "scancel") == [["scancel", array]]
    gate.touch()
    assert_search_ended(app)


@pytest.mark.slurm
def test_a_second_ctrl_c_stops_them(app, slurm, gate):
    with at_a_terminal(app, override("wait_for", gate), *ON_SLURM) as (sweep, press_ctrl_c):
        wait_until(lambda: len(app.runs()) == 4, 120, "four running trials")
        press_ctrl_c()
        wait_until(lambda: "Press Ctrl-C again" in sweep.output.read_text(), 30, "the offer")
        press_ctrl_c()
        outcome = app.wait(sweep)
    assert outcome.code == 130, outcome.output
    assert "Traceback" not in outcome.output
    assert "Stopped" in outcome.output
    gate.touch()
    wait_until(lambda: not slurm.squeue(), 60, "the end of the jobs")
    assert len(app.runs()) == 4


def assert_all_ended(app, sweep, gate):
    outcome = app.wait(sweep)
    assert outcome.code == 130, outcome.output
    assert "Traceback" not in outcome.output
    gate.touch()
    wait_until(lambda: not trial_processes(app), 60, "the end of the trials")
    with Ledger.open(app.ledger) as ledger:
        wait_until(lambda: ledger.worker_counts()["left"] == 2, 60, "the end of the workers")
    assert app.status()["trials"]["running"] == 0
    assert len(app.runs()) == 2


def test_workers_of_this_machine_end_with_the_first_ctrl_c(app, gate):
    with at_a_terminal(app, override("wait_for", gate), *LOCALLY) as (sweep, press_ctrl_c):
        wait_until(lambda: len(app.runs()) == 2, 60, "two running trials")
        press_ctrl_c()
        assert_all_ended(app, sweep, gate)


def test_they_end_also_if_the_sweeper_alone_is_interrupted(app, gate):
    sweep = app.start(f"x=range({N_TRIALS})", override("wait_for", gate), *LOCALLY)
    wait_until(lambda: len(app.runs()) == 2, 60, "two running trials")
    sweep.send_signal(signal.SIGINT)
    assert_all_ended(app, sweep, gate)


def assert_detaches(app, gate, launcher, n_workers):
    search = [f"x=range({N_TRIALS})", override("wait_for", gate), *launcher]
    outcome = app.sweep(*search, "hydra.sweeper.detach=true")
    assert outcome.code == 0, outcome.output
    assert_told_how_to_go_on(app, outcome.output)
    assert f"{n_workers} workers are submitted" in outcome.output
    assert not (outcome.folder / "optimization_results.yaml").exists()
    wait_until(lambda: len(app.runs()) == n_workers, 120, "running trials")
    gate.touch()
    assert_search_ended(app)
    assert app.sweep(*search).results["best_value"] == 0


def test_a_detached_sweeper_leaves_processes_of_this_machine(app, gate):
    assert_detaches(app, gate, LOCALLY, 2)


@pytest.mark.slurm
def test_a_detached_sweeper_leaves_jobs(app, slurm, gate):
    assert_detaches(app, gate, ON_SLURM, 4)


@pytest.mark.slurm
@pytest.mark.parametrize("detach", ["true", "false"])
def test_what_cannot_be_submitted_is_an_error(app, slurm, detach):
    outcome = app.sweep(
        "x=1,2", *ON_SLURM, "hydra.launcher.partition=nowhere", f"hydra.sweeper.detach={detach}"
    )
    assert outcome.code == 1
    assert "Traceback" not in outcome.output
    assert "invalid partition" in outcome.output
