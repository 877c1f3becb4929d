"""A multirun that names no tree, ledger or strategy, beside the same one with Hydra's basic sweeper."""

import itertools
import random
import re
import shlex
from pathlib import Path

import pytest
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf

from dahps_core.ledger import Ledger
from tests.support import wait_until
from tests.sweeper.conftest import override

# As in test_hydra_suites.py.
Plugins.instance()
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.usefixtures("hydra_restore_singletons"),
]

LOCALLY = ["hydra/launcher=submitit_local", "hydra.sweeper.n_workers=2"]


ConfigStore.instance().store(
    group="swept",
    name="params",
    package="hydra.sweeper.params",
    node={"foo": "1,2", "+a": "choice(x,'y z')", "bar": 5},
)


class Events(Callback):
    """Notes what Hydra tells a user's callback."""

    noted: list = []  # noqa: RUF012 (of the class: Hydra makes its own object)

    def on_multirun_start(self, config, **_):
        self.noted.append("multirun starts")

    def on_job_start(self, config, **_):
        self.noted.append(("job starts", config.hydra.job.num))

    def on_job_end(self, config, job_return, **_):
        self.noted.append(("job ends", config.hydra.job.num, job_return.status))

    def on_multirun_end(self, config, **_):
        self.noted.append("multirun ends")


@pytest.fixture
def swept(hydra_sweep_runner, tmp_path):
    """Sweeps, and tells all that can be seen of it, as far as it should not depend on the sweeper."""
    numbers = itertools.count()

    def sweep(sweeper, *overrides, task=lambda config: None):
        folder = tmp_path / f"{sweeper}{next(numbers)}"
        callback = f"+hydra.callbacks.events._target_={__name__}.Events"
        Events.noted.clear()
        random.seed(3)  # Hydra shuffles by it
        runner = hydra_sweep_runner(
            calling_file=None,
            calling_module="hydra.test_utils.a_module",
            task_function=task,
            config_path="configs",
            config_name="compose.yaml",
            overrides=[f"hydra/sweeper={sweeper}", callback, *overrides],
            temp_dir=folder,
        )
        error = None
        try:
            runner.__enter__()
        except Exception as raised:
            error = type(raised), str(raised)
        return {
            "returns": [[told(job, folder) for job in batch] for batch in runner.returns or []],
            "error": error,
            "events": list(Events.noted),
            "files": files(folder),
            "folder": folder,
        }

    return sweep


def told(job, folder):
    return {
        "overrides": job.overrides,
        "config": OmegaConf.to_container(job.cfg),
        "output": Path(job.hydra_cfg.hydra.runtime.output_dir).relative_to(folder),
        "id": job.hydra_cfg.hydra.job.id,
        "number": job.hydra_cfg.hydra.job.num,
        "working_dir": job.working_dir.replace(str(folder), "FOLDER"),
        "task_name": job.task_name,
        "status": job.status,
        "value": job.return_value,
    }


#: What the basic sweeper does not write.
OURS = r"ledger-|workers/|optimization_results|(.*/)?\.dahps/"


def files(folder):
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {path for path in found if not re.match(OURS, str(path))}


def alike(swept, *overrides, **task):
    """What both sweepers make of it, which must be the same."""
    basic, ours = (swept(sweeper, *overrides, **task) for sweeper in ("basic", "dahps"))
    for outcome in basic, ours:
        outcome.pop("folder")
    assert ours == basic
    return ours


SWEEPS = [
    [],
    ["foo=1"],
    ["+a=0,1"],
    ["group1=file1,file2", "bar=100,200,300"],
    ["bar=1,2", "foo=7", "+a=x,y"],
    ["foo=range(1,4)", "bar=range(0.5,2.5,0.5)"],
    ["+a=range(10,1,-4)"],
    ["+a=choice(1,'two',[3,'four'],{k:5},six,true)"],
    ["group1=glob(*)"],
    ["group1=glob([file*],exclude=file2)"],
    ["+a=tag(t1,t2,choice(1,2))"],
    ["+a=sort(3,1,2)", "+b=sort(choice(c,a,b),reverse=true)"],
    ["+a=shuffle(1,2,3,4,5)", "+b=shuffle(range(2))"],
    ["+a='x y',\"it's\"", "+b='plain',plain2"],
    ["+a='a\\'b',c"],
    ["+a=a\\ b,c\\,d"],
    ["+a=a:b,c/d.e,f@g"],
    ["+a=1e-3,.5,1.0,1_000,-7,inf"],
    ["+a=true,False,null,NULL"],
    ["+a=1,1,1.0"],
    ["+a=[1,2],[],[[x]]", "+b={},{k:v,l:{m:1}}"],
    ["+a=", "+b=''"],
    ["+a=${foo},${bar}", "foo=3,4"],
    ["+a=str(choice(1,2))", "+b=int(choice(1.5,2.5))", "+c=float(range(1,3))"],
    ["foo=1,2", "foo=5"],
    ["foo=5", "bar=1,2", "foo=6,7"],
    ["~foo=10"],
    ["++foo=1,2", "++new.nested=3"],
    ["+swept=params"],
    ["+swept=params", "foo=9"],
    ["foo=1,2", "hydra.sweep.subdir=trial-${hydra.job.num}-${hydra.job.id}"],
    ["foo=1,2", "hydra.sweep.subdir=${foo}/${bar}"],
    ["foo=1,2", "hydra.job.chdir=true"],
    ["foo=1,2", "hydra.job.chdir=false", "hydra.output_subdir=null"],
    ["foo=1,2,3,4,5", "hydra.sweeper.max_batch_size=2"],
    ["foo=1,2", "hydra.sweeper.max_batch_size=9"],
]


@pytest.mark.parametrize("overrides", SWEEPS, ids=" ".join)
def test_a_sweep_is_what_it_is_with_the_basic_sweeper(swept, overrides):
    outcome = alike(swept, *overrides, task=lambda config: config.foo if "foo" in config else None)
    assert outcome["error"] is None
    assert outcome["events"][-1] == "multirun ends"


def test_what_is_deleted_is_deleted_whatever_it_is(swept):
    """The basic sweeper writes `~bar=null`, which Hydra 1.4 refuses where bar is not null."""
    ((first, second),) = swept("dahps", "~bar", "foo=1,2")["returns"]
    assert [first["config"], second["config"]] == [{"foo": 1}, {"foo": 2}]
    assert first["overrides"] == ["~bar", "foo=1"]


THINGS = [1, 2.5, True, None, "text", {"loss": 1, "name": "x"}, [1, (2,)], {1, 2}, float("inf"), object]


def test_whatever_a_task_returns_is_returned(swept):
    outcome = alike(swept, f"+a=range({len(THINGS)})", task=lambda config: THINGS[config.a])
    (batch,) = outcome["returns"]
    assert [job["value"] for job in batch] == THINGS


class Unlucky(Exception):  # noqa: N818
    pass


def unlucky(config):
    if config.foo in (2, 3):
        raise Unlucky(f"foo is {config.foo}")
    return config.foo


@pytest.mark.parametrize("batches", [[], ["hydra.sweeper.max_batch_size=3"]])
def test_the_first_error_is_raised_when_its_batch_has_ended(swept, batches):
    outcome = alike(swept, "foo=1,2,3,4,5", *batches, task=unlucky)
    assert outcome["error"] == (Unlucky, "foo is 2")
    assert len([event for event in outcome["events"] if event[0] == "job ends"]) == (3 if batches else 5)


@pytest.mark.parametrize("overrides", [["no_such_key=1"], ["foo="]])
def test_what_cannot_be_composed_or_run_is_refused_alike(swept, overrides):
    basic, ours = (
        swept(sweeper, *overrides, task=lambda config: 1 / bool(config.foo)) for sweeper in ("basic", "dahps")
    )
    assert ours["error"] == basic["error"] is not None
    assert ours["events"] == basic["events"]


@pytest.mark.parametrize(
    ("sweep", "why"),
    [
        ("foo=interval(0,1)", "'foo=interval(0,1)' sweeps over an interval"),
        ("group1=glob(nothing*)", "'group1=glob(nothing*)' sweeps over nothing"),
        ("group1=file1,no_such_file", "no_such_file"),
    ],
)
def test_a_sweep_that_cannot_be_meant_is_refused(swept, sweep, why):
    kind, message = swept("dahps", sweep)["error"]
    assert kind is CompactHydraException
    assert why in message


def test_where_trials_have_processes_of_their_own_the_ledger_tells_what_they_returned(swept):
    things = [1, "text", {"loss": 1, "name": "x"}, [1, 2], None, {3}]
    here, there = (
        swept("dahps", "+a=range(6)", *where, task=lambda config: things[config.a])
        for where in ([], ["hydra.sweeper.isolation=process"])
    )
    ((*_, last_here),) = here["returns"]
    ((*_, last_there),) = there["returns"]
    assert last_here.pop("value") == {3}
    assert last_there.pop("value") is None, "no JSON"
    del here["folder"], there["folder"]
    here["events"] = there["events"] = None  # the callbacks were told of the jobs where they ran
    assert here == there


def test_each_sweep_has_a_ledger_of_its_own(swept):
    folder = swept("dahps", "foo=3,1,2", task=lambda config: config.foo)["folder"]
    (ledger,) = folder.glob("ledger-*")
    with Ledger.open(ledger) as opened:
        assert [trial.metric for trial in opened.trials()] == [3, 1, 2]
        assert opened.best().number == 1


def test_a_search_returns_its_trials(swept, tmp_path, hydra_sweep_runner):
    runner = hydra_sweep_runner(
        calling_file=None,
        calling_module="hydra.test_utils.a_module",
        task_function=lambda config: config.foo,
        config_path="configs",
        config_name="compose.yaml",
        overrides=["hydra/sweeper=dahps", override("hydra.sweeper.ledger", tmp_path / "ledger"), "foo=1,2"],
        temp_dir=tmp_path / "sweep",
    )
    with runner as sweep:
        assert sorted(trial.metric for trial in sweep.returns) == [1, 2]
        assert [trial.number for trial in sweep.returns] == [0, 1]
        assert sweep.returns[-1].combination["foo"] in (1, 2)


UNNAMED = "hydra.sweeper.ledger=null"


def test_a_sweep_that_is_typed_again_is_run_again(app):
    folder = app.folder / "same"
    for _ in range(2):
        outcome = app.sweep("x=3,1", UNNAMED, override("hydra.sweep.dir", folder))
        assert outcome.code == 0, outcome.output
    assert app.runs() == {(0, 1): 2, (1, 1): 2}
    assert len(list(folder.glob("ledger-*"))) == 2
    assert yaml.safe_load((folder / "optimization_results.yaml").read_text())["best_value"] == 1


@pytest.mark.parametrize("where", [[], LOCALLY], ids=["basic", "submitit_local"])
def test_a_task_that_raises_is_run_once_and_told_with_its_own_traceback(app, where):
    outcome = app.sweep("x=range(7)", "behaviour=raise", UNNAMED, *where)
    assert outcome.code == 1
    assert app.runs() == {(number, 1): 1 for number in range(7)}
    last = outcome.output.rpartition("Error executing job with overrides")[2]
    assert "ValueError: x is 0" in last
    assert "in behave" in last
    if not where:
        assert "dahps_sweeper" not in last


def test_a_sweep_that_was_stopped_goes_on_by_the_command_that_it_tells(app):
    gate = app.folder / "gate"
    common = ["x=range(4)", override("wait_for", gate), *LOCALLY]
    sweep = app.start(*common, UNNAMED)
    wait_until(lambda: len(app.runs()) == 2, 60, "two running trials")
    (ledger,) = sweep.sweep_dir.glob("ledger-*")
    with Ledger.open(ledger) as opened:
        opened.stop()
    gate.touch()
    outcome = app.wait(sweep)
    assert outcome.code == 0, outcome.output
    (told,) = re.findall(r"2 trials are left.* the same command with (.*) to continue", outcome.output)
    outcome = app.sweep(*common, *shlex.split(told))
    assert outcome.code == 0, outcome.output
    assert app.runs() == {(number, 1): 1 for number in range(4)}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["x=1,2", UNNAMED, "hydra.sweeper.max_batch_size=0"], "max_batch_size is 0. It must be at least 1"),
        (["x=1,2", "hydra.sweeper.max_batch_size=2"], "max_batch_size: only a plain sweep without detach"),
    ],
)
def test_batches_that_cannot_be_are_refused(app, overrides, words):
    outcome = app.sweep(*overrides)
    assert outcome.code == 1
    assert words in outcome.output
    assert "Traceback" not in outcome.output


@pytest.mark.slurm
def test_a_sweep_on_slurm_tells_the_first_error_when_all_its_jobs_have_ended(app, slurm):
    slurm_jobs = [
        "hydra/launcher=submitit_slurm",
        "hydra.launcher.timeout_min=20",
        "hydra.sweeper.n_workers=2",
    ]
    outcome = app.sweep("x=range(3)", "behaviour=raise", UNNAMED, *slurm_jobs)
    assert outcome.code == 1
    assert app.runs() == {(number, 1): 1 for number in range(3)}
    last = outcome.output.rpartition("Error executing job with overrides")[2]
    assert "trial #0 failed:" in last
    assert "ValueError: x is 0" in last
