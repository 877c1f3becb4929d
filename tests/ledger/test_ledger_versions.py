"""Ledgers that older versions of DAHPS wrote, kept for good: `versions/N` holds one of schema N."""

import json
import multiprocessing
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from ledger_support import ask, assert_sound, claimed, finish, register, sql
from trap import set_trap

from dahps_core.ledger import FILE_NAME, Ledger
from dahps_core.ledger.sqlite.schema import SCHEMA_VERSION
from dahps_core.ledger.views.export import row
from dahps_core.model.records import Draw, TrialState

VERSIONS = sorted(Path(__file__).with_name("versions").iterdir())


@pytest.fixture(params=VERSIONS, ids=lambda folder: f"schema {folder.name}")
def old(request, folder):
    shutil.copytree(request.param, folder)
    return folder


def exported(folder):
    with Ledger.open(folder) as ledger:
        trials = [row(trial) for trial in ledger.trials()]
    for trial in trials:  # older versions knew of no levels, and not which configs a multirun used
        assert trial.pop("configs") is None
        assert (trial.pop("level"), trial.pop("resource"), trial.pop("metrics")) == (0, None, {})
        del trial["result"]
    return [
        {**trial, "metric": "nan" if trial["metric"] != trial["metric"] else trial["metric"]}
        for trial in trials
    ]


def test_every_older_schema_is_kept():
    assert [folder.name for folder in VERSIONS] == [str(version) for version in range(1, SCHEMA_VERSION)]


def test_an_old_ledger_tells_the_same_and_is_kept_as_a_copy(old):
    version = int(sql(old, "PRAGMA user_version")[0][0])
    shutil.copy(old / FILE_NAME, old / "before.db")
    assert exported(old) == json.loads((old / "trials.json").read_text())
    assert_sound(old)
    assert sql(old, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    with (
        closing(sqlite3.connect(old / "before.db")) as before,
        closing(sqlite3.connect(old / f"ledger-schema{version}.db")) as kept,
    ):
        assert kept.execute("PRAGMA user_version").fetchone() == (version,)
        assert list(kept.iterdump()) == list(before.iterdump())


def test_an_upgraded_ledger_has_the_tables_of_a_new_one(old, tmp_path):
    with Ledger.open(old) as ledger:
        Ledger.join(tmp_path / "new", ledger.search).close()
    tables = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
    assert sql(old, tables) == sql(tmp_path / "new", tables)


def test_an_upgraded_search_goes_on_to_its_end(old):
    with Ledger.open(old) as ledger:
        dead = [worker.id for run in ("first", "second") for worker in ledger.workers(run)]
        worker = register(ledger)
        ledger.resume()
        ledger.retry(*[trial.number for trial in ledger.trials() if trial.state is TrialState.CANCELLED])
        size = ledger.search.space.n_trials
        n_finished = len([trial for trial in ledger.trials() if trial.state.value == "finished"])
        for _ in range(size - n_finished):
            finish(ledger, claimed(ledger, worker, max_attempts=9, dead=dead))
        assert ask(ledger, worker) is Draw.EXHAUSTED
        assert {trial.state.value for trial in ledger.trials()} == {"finished"}
    assert_sound(old)


def test_an_interrupted_upgrade_leaves_the_old_ledger(old, monkeypatch):
    monkeypatch.setattr("dahps_core.ledger.sqlite.schema.make_tables", lambda transaction: 1 / 0)
    before = sql(old, "SELECT * FROM trial")
    with pytest.raises(ZeroDivisionError):
        Ledger.open(old)
    assert sql(old, "SELECT * FROM trial") == before
    monkeypatch.undo()
    assert exported(old) == json.loads((old / "trials.json").read_text())


def open_until(step, folder):
    set_trap(step, signal.SIGKILL)
    Ledger.open(folder)


def test_an_upgrade_that_is_killed_at_any_step_leaves_one_of_the_two(old, tmp_path):
    expected = json.loads((old / "trials.json").read_text())
    context = multiprocessing.get_context("fork")
    for step in range(1, 400):
        copy = shutil.copytree(old, tmp_path / str(step))
        child = context.Process(target=open_until, args=(step, copy))
        child.start()
        child.join(60)
        assert child.exitcode in (-signal.SIGKILL, 0)
        assert exported(copy) == expected
        assert_sound(copy)
        if child.exitcode == 0:
            break
    assert step > 20, "a trap that never snapped shows nothing"
