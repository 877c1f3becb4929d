"""A sweep's folder belongs to one ledger, and a trial's folder to one trial."""

import json
import multiprocessing
import shutil
from dataclasses import replace

import pytest
import yaml
from hydra.core.utils import setup_globals
from omegaconf import OmegaConf

from dahps_core.ledger import Ledger, Search
from dahps_core.space import SearchSpace
from hydra_plugins.dahps_sweeper._frozen import has_clock_in_sweep_dir
from hydra_plugins.dahps_sweeper._owners import MARK, Owner, claim, claim_sweep
from tests.support import wait_until
from tests.sweeper.conftest import override

UNNAMED = "hydra.sweeper.ledger=null"
X = "hydra.sweeper.search={root:{key:x,values:[1,2],default:null}}"


def make_ledger(folder, seed=None):
    search = Search(
        SearchSpace.from_config({"root": {"key": "x", "values": [1, 2], "default": None}}), seed=seed
    )
    with Ledger.join(folder, search) as ledger:
        return Owner(str(ledger.folder), ledger.identity())


def test_of_several_that_claim_a_folder_at_once_one_succeeds(tmp_path):
    fork = multiprocessing.get_context("fork")
    barrier, answers = fork.Barrier(8), fork.Queue()

    def claim_with_others(number):
        barrier.wait(60)
        answers.put((number, claim(tmp_path / "a/b", Owner("/ledger", "identity", number))))

    processes = [fork.Process(target=claim_with_others, args=(number,)) for number in range(8)]
    for process in processes:
        process.start()
    found = dict(answers.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(60)
    (winner,) = [number for number, other in found.items() if other is None]
    assert {other.trial for other in found.values() if other} == {winner}
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == [MARK]


def test_of_several_sweeps_that_replace_an_ended_one_at_once_one_succeeds(tmp_path):
    fork = multiprocessing.get_context("fork")
    barrier, answers, end = fork.Barrier(8), fork.Queue(), fork.Event()
    assert claim(tmp_path, Owner("ledger-00000000", None)) is None

    def replace_with_others(number):
        barrier.wait(60)
        run = f"{number:08x}"
        answers.put(claim(tmp_path, Owner.of_sweep(run, f"ledger-{run}", None)))
        end.wait(60)  # a sweep that runs

    processes = [fork.Process(target=replace_with_others, args=(number,)) for number in range(1, 9)]
    for process in processes:
        process.start()
    others = [answers.get(timeout=60) for _ in processes]
    end.set()
    for process in processes:
        process.join(60)
    assert others.count(None) == 1
    (record,) = (tmp_path / MARK).iterdir()
    assert {other.run for other in others if other} == {json.loads(record.read_text())["run"]}


class TestLedgers:
    @pytest.fixture
    def owned(self, tmp_path):
        """A folder, and the ledger that owns it."""
        owner = make_ledger(tmp_path / "ledger", seed=1)
        assert claim(tmp_path / "sweep", owner) is None
        return tmp_path / "sweep", owner

    def test_another_one_is_refused_though_its_seed_is_the_same(self, owned, tmp_path):
        folder, owner = owned
        assert claim(folder, make_ledger(tmp_path / "other", seed=1)) == owner

    def test_the_same_one_may_come_again_but_not_under_a_new_name(self, owned):
        folder, owner = owned
        assert claim(folder, replace(owner, run="2")) is None
        assert claim(folder, replace(owner, run="2"), must_be_new=True) == owner
        assert claim_sweep(folder, replace(owner, run="2"), is_chosen=False).name == "sweep-2"
        assert claim_sweep(folder, replace(owner, run="3"), is_chosen=False).name == "sweep-3"

    def test_a_moved_one_keeps_its_folders(self, owned, tmp_path):
        folder, _ = owned
        (tmp_path / "ledger").rename(tmp_path / "moved")
        moved = make_ledger(tmp_path / "moved")
        assert claim(folder, moved) is None
        make_ledger(tmp_path / "ledger")  # in its old place
        assert claim(folder, moved) is None

    def test_a_copy_owns_nothing_while_the_original_is_there(self, owned, tmp_path):
        folder, owner = owned
        shutil.copytree(tmp_path / "ledger", tmp_path / "copy")
        assert claim(folder, make_ledger(tmp_path / "copy")) == owner

    def test_a_linked_one_is_the_same(self, owned, tmp_path):
        folder, _ = owned
        (tmp_path / "link").symlink_to(tmp_path / "ledger")
        assert claim(folder, make_ledger(tmp_path / "link")) is None

    def test_one_in_the_folder_is_moved_with_it(self, tmp_path):
        owner = make_ledger(tmp_path / "sweep" / "ledger")
        assert claim(tmp_path / "sweep", Owner("ledger", None)) is None
        (tmp_path / "sweep").rename(tmp_path / "moved")
        moved = make_ledger(tmp_path / "moved" / "ledger")
        assert moved.identity == owner.identity
        assert claim(tmp_path / "moved", moved) is None

    def test_a_record_that_a_crash_has_cut_off_owns_nothing(self, owned, tmp_path):
        folder, _ = owned
        (record,) = (folder / MARK).iterdir()
        record.write_text("")
        assert claim(folder, make_ledger(tmp_path / "other")) is None


@pytest.mark.parametrize(
    ("folder", "has_clock"),
    [
        ("multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}", True),
        ("${base}/1", True),
        ("out", False),
        ("multirun/2024-01-01/12-00-00", False),
        ("${name}", False),
    ],
)
def test_a_name_by_the_clock_is_told_from_a_chosen_one(folder, has_clock):
    setup_globals()
    config = OmegaConf.create(
        {
            "hydra": {"sweep": {"dir": folder}, "run": {"dir": "${now:%H-%M-%S}"}},
            "base": "${name}/${now:%Y}",
            "name": "mine",
        }
    )
    assert config.hydra.run.dir
    assert has_clock_in_sweep_dir(config) is has_clock


def by_the_year(app):
    """As good as the same second; quoted, so that it is resolved by Hydra."""
    return f'hydra.sweep.dir="{app.folder}/multirun/${{now:%Y}}"'


@pytest.mark.parametrize("ledgers", [["one", "two"], ["one", "one"], [None, None]], ids=str)
def test_searches_that_start_in_the_same_second_have_folders_of_their_own(app, ledgers):
    sweeps = []
    for ledger in ledgers:
        named = override("hydra.sweeper.ledger", app.folder / ledger) if ledger else UNNAMED
        searched = [X, "hydra.sweeper.strategy.name=grid"] if ledger else ["x=1,2"]
        sweeps.append(app.start(by_the_year(app), named, *searched))
    for sweep in sweeps:
        outcome = app.wait(sweep)
        assert outcome.code == 0, outcome.output
    folders = sorted((app.folder / "multirun").iterdir())
    assert len(folders) == 2
    assert folders[1].name == f"{folders[0].name}-2"
    outputs = set()
    for ledger in {app.folder / ledger for ledger in ledgers if ledger} or (app.folder / "multirun").glob(
        "*/led*"
    ):
        with Ledger.open(ledger) as opened:
            outputs |= {trial.output_dir for trial in opened.trials()}
    assert len(outputs) == (2 if ledgers == ["one", "one"] else 4)
    for folder, suffix in zip(folders, ("", "-2"), strict=True):
        written = yaml.safe_load((folder / "multirun.yaml").read_text())
        assert written["hydra"]["sweep"]["dir"] == f"{app.folder}/multirun/${{now:%Y}}{suffix}"
    for output in outputs:
        assert output.startswith(f"{app.folder}/multirun/")


def test_a_chosen_folder_is_one_ledgers(app):
    chosen = override("hydra.sweep.dir", app.folder / "chosen")
    assert app.sweep(X, chosen).code == 0
    before = (app.folder / "chosen" / "multirun.yaml").read_text()
    outcome = app.sweep(X, chosen, override("hydra.sweeper.ledger", app.folder / "another"))
    assert outcome.code == 1
    assert f"belongs to the ledger {app.ledger}" in outcome.output
    assert "Give another hydra.sweep.dir" in outcome.output
    assert "Traceback" not in outcome.output
    assert (app.folder / "chosen" / "multirun.yaml").read_text() == before
    again = app.sweep(
        "hydra.sweeper.search={root:{key:x,values:[1,2,3],default:null}}",
        chosen,
        "hydra.sweeper.on_change=extend",
    )
    assert again.code == 0, again.output
    assert [trial["output_dir"] for trial in app.trials()] == [
        str(app.folder / "chosen" / str(number)) for number in range(3)
    ]


def test_a_plain_sweep_that_is_typed_again_waits_for_the_end_of_the_first(app):
    gate = app.folder / "gate"
    common = ["x=1,2", UNNAMED, override("hydra.sweep.dir", app.folder / "chosen")]
    first = app.start(*common, override("wait_for", gate))
    wait_until(app.runs, 60, "a running trial")
    outcome = app.sweep(*common)
    assert outcome.code == 1
    assert "belongs to the ledger" in outcome.output
    assert "Traceback" not in outcome.output
    gate.touch()
    assert app.wait(first).code == 0
    outcome = app.sweep(*common)
    assert outcome.code == 0, outcome.output
    assert app.runs() == {(0, 1): 2, (1, 1): 2}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([X, "hydra.sweep.subdir=all"], ["x=1", "x=2"]),
        ([X, "+hydra.sweeper.search.repetitions=2", "hydra.sweep.subdir='x-${x}'"], ["repetition"]),
        (["x=1,2", "y=a", UNNAMED, "hydra.sweep.subdir='${y}'"], ["#0 and #1"]),
        ([X, "hydra.sweep.subdir='${hydra.job.id}'"], ["x=1", "x=2"]),
    ],
    ids=["search", "repetitions", "plain", "job id"],
)
def test_a_name_that_trials_share_is_refused_before_anything_runs(app, overrides, words):
    outcome = app.sweep(*overrides)
    assert outcome.code == 1
    for word in [*words, "hydra.sweep.subdir", "Add ${hydra.job.num}"]:
        assert word in outcome.output
    assert "Traceback" not in outcome.output
    assert not app.runs()
    assert not app.ledger.exists()


@pytest.mark.parametrize(
    "where", [[], ["hydra/launcher=joblib", "hydra.sweeper.n_workers=2"]], ids=["here", "joblib"]
)
def test_a_trial_that_would_write_into_anothers_folder_fails_and_names_it(app, where):
    alike = "hydra.sweeper.search={root:{key:x,values:[1,2,'1'],default:null}}"
    once = ["behaviour=undefined", "hydra.sweeper.max_attempts=1"]
    outcome = app.sweep(alike, "hydra.sweep.subdir='${x}'", *once, *where)
    assert outcome.code == 0, outcome.output
    assert sorted(trial["state"] for trial in app.trials()) == ["failed", "finished", "finished"]
    (failed,) = [trial for trial in app.trials() if trial["state"] == "failed"]
    (owner,) = [trial for trial in app.trials() if (trial["output_dir"] or "").endswith("/1")]
    assert f"trial {failed['number']} cannot write into" in failed["error"]
    assert f"belongs to trial {owner['number']}" in failed["error"]


def test_each_attempt_of_a_trial_writes_into_its_folder(app):
    outcome = app.sweep(X, "hydra.sweep.subdir='x-${x}'", "behaviour=raise once")
    assert outcome.code == 0, outcome.output
    assert app.runs() == {(number, attempt): 1 for number in (0, 1) for attempt in (1, 2)}
    assert {trial["output_dir"].rpartition("/")[2] for trial in app.trials()} == {"x-1", "x-2"}
