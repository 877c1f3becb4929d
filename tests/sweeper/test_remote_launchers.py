"""Late-binding workers under the launchers whose workers other programs start: Ray's, and those of RQ."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import hydra
import pytest

from tests.support import skip_unless_required, wait_until
from tests.sweeper.conftest import override

N_TRIALS = 6
#: With which RQ's workers pickle, where the launcher for Hydra 1.4 gives them their jobs.
SERIALIZER = "hydra_plugins.hydra_rq_launcher.serializer.CloudpickleSerializer"
OPTIONS = ["--serializer", SERIALIZER] if hydra.__version__ >= "1.4" else []


def required(launcher, *programs):
    missing = [f"hydra-{launcher}-launcher"] if not importlib.util.find_spec(launcher) else []
    if missing := missing + [program for program in programs if not shutil.which(program)]:
        skip_unless_required("LAUNCHERS", f"not installed: {', '.join(missing)}")


@pytest.fixture
def ray():
    required("ray")
    return ["hydra/launcher=ray", "hydra.sweeper.n_workers=2"]


@pytest.fixture
def redis(tmp_path, monkeypatch):
    """A server of the test's own, which the launcher finds by the environment."""
    required("rq", "redis-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", tmp_path]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    monkeypatch.setenv("REDIS_PORT", port)
    try:
        wait_until(lambda: answers(int(port)), 30, "Redis")
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def answers(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def queue(redis, tmp_path):
    """The overrides for the launcher of a queue that nobody serves, and what starts a worker of RQ."""
    started = []

    def serve():
        program = [Path(sys.executable).with_name("rq"), "worker", "--quiet", "--url", redis]
        started.append(subprocess.Popen([*program, *OPTIONS], cwd=tmp_path))

    yield ["hydra/launcher=rq", "hydra.launcher.wait_polling=0.1", "hydra.sweeper.n_workers=2"], serve
    for worker in started:
        worker.kill()
        worker.wait()


@pytest.fixture
def rq(queue):
    """The overrides for the launcher of a queue that two workers serve."""
    launcher, serve = queue
    serve()
    serve()
    return launcher


@pytest.fixture(params=["ray", "rq"])
def launcher(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def gate(app):
    gate = app.folder / "gate"
    yield gate
    gate.touch()


def started(app, gate, launcher, *overrides):
    sweep = app.start(f"x=range({N_TRIALS})", override("wait_for", gate), *launcher, *overrides)
    wait_until(lambda: len(app.runs()) == 2 or sweep.poll() is not None, 120, "two running trials")
    assert sweep.poll() is None, sweep.output.read_text()
    return sweep


def test_a_trial_of_a_killed_worker_is_run_again(app, gate, launcher):
    sweep = started(app, gate, launcher)
    killed = app.signal_a_worker(signal.SIGKILL)
    gate.touch()
    outcome = app.wait(sweep)
    assert outcome.code == 0, outcome.output
    assert app.runs() == {**{(number, 1): 1 for number in range(N_TRIALS)}, (killed, 2): 1}
    assert {trial["state"] for trial in app.trials()} == {"finished"}
    assert outcome.results["best_value"] == 0


def test_a_worker_that_is_told_to_end_gives_its_trial_back(app, gate, rq):
    sweep = started(app, gate, rq, "hydra.sweeper.lease=600")
    number = app.signal_a_worker(signal.SIGTERM)
    wait_until(lambda: app.status()["trials"]["released"] == 1, 30, "the release")
    gate.touch()
    outcome = app.wait(sweep)
    assert outcome.code == 0, outcome.output
    assert app.runs() == {**{(n, 1): 1 for n in range(N_TRIALS)}, (number, 2): 1}


def test_ctrl_c_gives_the_trials_back_before_the_launcher_ends_its_workers(app, gate, launcher):
    sweep = started(app, gate, launcher)
    sweep.send_signal(signal.SIGINT)
    outcome = app.wait(sweep)
    assert outcome.code == 130, outcome.output
    assert app.status()["trials"]["released"] == 2


def test_a_job_that_runs_out_of_its_time_gives_its_trial_back(app, gate, rq):
    sweep = started(app, gate, rq, "hydra.launcher.enqueue.job_timeout=5s")
    outcome = app.wait(sweep)
    assert outcome.code == 1
    if OPTIONS:  # else RQ cannot tell what the job has raised
        assert "JobTimeoutException" in outcome.output
    assert "All recorded results are safe" in outcome.output
    assert {trial["error"] for trial in app.trials()} == {"SIGALRM: its worker had to end"}


@pytest.mark.parametrize("option", ["hydra.sweeper.detach=true", "hydra.launcher.stop_after_enqueue=true"])
def test_workers_in_a_queue_go_on_without_the_sweeper(app, queue, option):
    launcher, serve = queue
    outcome = app.sweep(f"x=range({N_TRIALS})", *launcher, option)
    assert outcome.code == 0, outcome.output
    assert "2 workers are submitted" in outcome.output
    assert app.status()["trials"]["running"] == 0
    serve()
    wait_until(lambda: app.status()["trials"]["finished"] == N_TRIALS, 60, "the end of the search")


def test_that_nobody_serves_the_queue_is_told(app, queue):
    launcher, serve = queue
    sweep = app.start("x=1,2", *launcher)
    told = "No worker is alive, 2 trials are left; waiting for the launcher"
    wait_until(lambda: told in sweep.output.read_text(), 60, "a word")
    serve()
    outcome = app.wait(sweep)
    assert outcome.code == 0, outcome.output


def test_workers_that_were_all_killed_are_an_error(app, gate, rq):
    sweep = started(app, gate, rq)
    for worker in app.workers():
        os.kill(worker, signal.SIGKILL)
    outcome = app.wait(sweep)
    assert outcome.code == 1
    assert f"workers are gone, but {N_TRIALS} trials are left" in outcome.output
