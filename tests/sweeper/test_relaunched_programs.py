"""A program that a trial starts again evaluates that trial, and searches nothing."""

import json
import shutil
import subprocess

import pytest

from dahps_core import Ledger
from tests.sweeper.conftest import APPS, override

LAUNCHERS = {
    "basic": [],
    "process": ["hydra.sweeper.isolation=process"],
    "joblib": ["hydra/launcher=joblib", "hydra.sweeper.n_workers=1"],
    "submitit_local": ["hydra/launcher=submitit_local", "hydra.sweeper.n_workers=1"],
}


@pytest.fixture
def app(app):
    """With configs of its own, which a trial may edit."""
    shutil.copy(APPS / "relaunching.py", app.folder)
    conf = app.folder / "conf"
    (conf / "optimizer").mkdir(parents=True)
    (conf / "optimizer" / "sgd.yaml").write_text("lr: 0.1\nnumber: ${dahps:number}\n")
    (conf / "relaunching.yaml").write_text(
        "defaults: [_self_, optimizer: sgd]\nx: 0\nrecord: null\nedits: null\nnotes: ???\nat: ${now:%S.%f}\n"
    )
    app.script = app.folder / "relaunching.py"
    return app


def facts(app, number, rank):
    return json.loads((app.folder / f"{number}.{rank}.json").read_text())


def searched(app, *overrides):
    return app.wait(app.start("x=1,2", override("notes", app.folder), *overrides), 300)


@pytest.mark.parametrize("launcher", LAUNCHERS.values(), ids=LAUNCHERS)
def test_it_evaluates_the_trial_of_the_process_that_started_it(app, launcher):
    edited = override("edits", app.folder / "conf" / "optimizer" / "sgd.yaml")
    outcome = searched(app, "hydra.job.chdir=true", edited, *launcher)
    assert outcome.code == 0, outcome.output
    with Ledger.open(app.ledger) as ledger:
        trials = list(ledger.trials())
        assert [ledger.history(trial.number) for trial in trials] == [[(1, 0, 0.0)]] * 2
    assert [trial.state.value for trial in trials] == ["finished"] * 2
    for trial in trials:
        first, second = facts(app, trial.number, 0), facts(app, trial.number, 1)
        del first["config"]["at"], second["config"]["at"]  # each resolves it when it reads it
        assert first == second
        assert first["config"]["optimizer"] == {"lr": 0.1, "number": trial.number}
    assert sorted(path.name for path in (app.folder / "dahps").iterdir()) == [app.ledger.name]
    assert not list(app.folder.glob("outputs")) + list(app.folder.glob("multirun"))
    folder = outcome.folder / "0"
    logs = sorted(path.name for path in folder.iterdir())
    assert logs == [".hydra", "relaunching.log", "relaunching.rank1.log"]
    assert "rank 1" not in (folder / "relaunching.log").read_text()
    assert "edits" in (folder / ".hydra" / "overrides.yaml").read_text()


def test_python_m_is_started_again_as_a_module(app):
    command, _ = app.command("x=1,2", override("notes", app.folder), *LAUNCHERS["submitit_local"])
    command[1:2] = ["-m", "relaunching"]
    subprocess.run(command, cwd=app.folder, check=True, timeout=300)
    for number in 0, 1:
        assert facts(app, number, 0)["trial"] == facts(app, number, 1)["trial"]


def test_without_m_it_has_the_trial_all_the_same(app):
    app.script.write_text(
        app.script.read_text().replace("*sys.argv[1:],", "*HydraConfig.get().overrides.task,")
    )
    outcome = searched(app)
    assert outcome.code == 0, outcome.output
    for number in 0, 1:
        assert facts(app, number, 0)["trial"] == facts(app, number, 1)["trial"]
    assert len(app.trials()) == 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("*sys.argv[1:],", "*sys.argv[1:], 'x=3',", "command line differs"),
        ("to_absolute_path(sys.argv[0])", "to_absolute_path('other.py')", "program differs"),
    ],
)
def test_what_searches_something_else_is_refused(app, old, new, words):
    shutil.copy(app.script, app.folder / "other.py")
    app.script.write_text(app.script.read_text().replace(old, new))
    outcome = searched(app, "hydra.sweeper.max_attempts=1")
    assert outcome.code != 0
    assert words in outcome.output
    assert "unset DAHPS_TRIAL" in outcome.output
    assert not list(app.folder.glob("*.1.json"))
    assert [trial["state"] for trial in app.trials()] == ["failed", "failed"]


def test_after_the_attempt_it_is_refused(app):
    app.script.write_text(
        app.script.read_text().replace(
            "subprocess.run(command(), env=environ, cwd=get_original_cwd(), check=True, timeout=300)",
            "Path(config.notes, 'again').write_text(json.dumps([command(), environ]))",
        )
    )
    assert searched(app).code == 0
    command, environ = json.loads((app.folder / "again").read_text())
    outcome = subprocess.run(
        command, env=environ, cwd=app.folder, capture_output=True, text=True, timeout=300
    )
    assert outcome.returncode == 1
    assert "attempt 1 of this trial, which is over" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert len(app.trials()) == 2


@pytest.mark.parametrize("launcher", LAUNCHERS.values(), ids=LAUNCHERS)
def test_what_a_trial_spawns_has_the_trial_under_each_launcher(app, launcher):
    """It imports the program's main module, not the launcher's."""
    (app.folder / "elsewhere.py").write_text(
        "from dahps_core import current_trial\ndef report(x):\n    current_trial().report(x, 1)\n"
    )
    app.script.write_text(
        "import hydra\nfrom multiprocessing import get_context\nfrom elsewhere import report\n"
        '@hydra.main(version_base="1.3", config_path="conf", config_name="relaunching")\n'
        "def main(config):\n"
        "    process = get_context('spawn').Process(target=report, args=(config.x,))\n"
        "    process.start()\n    process.join()\n    assert process.exitcode == 0\n    return config.x\n"
        'if __name__ == "__main__":\n    main()\n'
    )
    outcome = searched(app, *launcher)
    assert outcome.code == 0, outcome.output
    with Ledger.open(app.ledger) as ledger:
        for trial in ledger.trials():
            assert ledger.history(trial.number) == [(1, 1, trial.metric)]
