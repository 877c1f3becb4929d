"""The configs that are kept with a ledger: the first ones count, whoever comes at the same time."""

import multiprocessing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dahps_core.errors import LedgerDamagedError, LedgerUnavailableError, SearchChangedError
from dahps_core.ledger.folder.configs import FOLDER, keep_configs

VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())
CONFIGS = st.dictionaries(st.text(), st.dictionaries(st.text(), VALUES))


def keep(folder, number, start, answers):
    start.wait()
    try:
        answers.put((number, keep_configs(folder, {"config": {"lr": number}}, extend=False)))
    except SearchChangedError as error:
        answers.put((number, str(error)))


def test_of_many_that_come_at_once_one_makes_the_ledgers_configs(folder):
    context = multiprocessing.get_context("fork")
    start, answers = context.Barrier(8), context.Queue()
    processes = [context.Process(target=keep, args=(folder, n, start, answers)) for n in range(8)]
    for process in processes:
        process.start()
    told = dict(answers.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    (first,) = [number for number, answer in told.items() if answer == (0, [])]
    assert all(f"{first} became {number}" in told[number] for number in told if number != first)
    assert [path.name for path in (folder / FOLDER).iterdir()] == ["0"]


@given(configs=CONFIGS)
def test_the_same_configs_are_no_change_whatever_is_in_them(configs):
    in_another_order = {name: dict(reversed(says.items())) for name, says in reversed(configs.items())}
    with TemporaryDirectory() as name:
        assert keep_configs(Path(name), configs, extend=False) == (0, [])
        assert keep_configs(Path(name), in_another_order, extend=False) == (0, [])


def test_each_change_is_told(folder):
    keep_configs(folder, {"config": {"a": 1, "b": 2}, "model/old": {"c": 1}}, extend=False)
    changed = {"config": {"a": 1.0, "c": None}, "model/new": {"c": 2}}
    with pytest.raises(SearchChangedError) as caught:
        keep_configs(folder, changed, extend=False)
    lines = str(caught.value).split("\n  ")[1:]
    assert lines[:2] == ["config: a: 1 became 1.0", "config: b: removed, it was 2"]
    assert lines[2].startswith("config: c: added, null\nNothing was run")
    number, told = keep_configs(folder, changed, extend=True)
    assert (number, len(told)) == (1, 3)
    assert keep_configs(folder, changed, extend=False) == (1, [])


def test_what_cannot_be_read_or_kept_is_told(folder):
    keep_configs(folder, {}, extend=False)
    (folder / FOLDER / "0" / "configs.json").write_text("{")
    with pytest.raises(LedgerDamagedError, match="cannot be read"):
        keep_configs(folder, {}, extend=False)
    elsewhere = folder.with_name("elsewhere")
    elsewhere.mkdir()
    (elsewhere / FOLDER).write_text("a file")
    with pytest.raises(LedgerUnavailableError):
        keep_configs(elsewhere, {}, extend=False)
