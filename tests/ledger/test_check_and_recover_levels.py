"""`dahps check` and `dahps recover` of a search with levels."""

import math
import random
import shutil

import pytest
from ledger_support import ask, break_it, claimed, fail, finish, levelled, lose, register, release, sql

from dahps_core.ledger import Ledger
from dahps_core.ledger.repair.check import violations
from dahps_core.ledger.repair.rebuild import rebuild
from dahps_core.model.records import Claim, Draw


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    folder = tmp_path_factory.mktemp("levels") / "ledger"
    chance = random.Random(3)
    with Ledger.join(folder, levelled(60, direction="maximize")) as ledger:
        worker, silent = register(ledger), register(ledger, run="other")
        claimed(ledger, silent)
        for _ in range(70):
            claim = claimed(ledger, worker, max_attempts=3)
            outcome = chance.choice((finish,) * 8 + (fail, lose, release))
            outcome(
                ledger,
                claim,
                *[chance.choice([0.1, 0.2, chance.random(), math.nan])] * (outcome is finish),
            )
        assert {trial.level for trial in ledger.trials()} == {0, 1, 2}
    return folder


@pytest.fixture
def copied(full, tmp_path):
    return shutil.copytree(full, tmp_path / "ledger")


def test_a_sound_one_is_sound(copied):
    assert list(violations(copied)) == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE standing SET score = -7 WHERE place = 2", "its places in the rungs differ"),
        (
            "UPDATE standing SET is_promoted = 1 - is_promoted WHERE score IS NOT NULL",
            "places in the rungs differ",
        ),
        ("DELETE FROM standing WHERE place = 2", "its places in the rungs differ"),
        (
            "UPDATE standing SET is_top = 1 - is_top WHERE score IS NOT NULL AND level = 0",
            "outside its top is",
        ),
        ("UPDATE standing SET is_top = 0", "bracket 0, level 0: its counts differ"),
        ("UPDATE rung SET n_ended = n_ended + 1 WHERE level = 0", "bracket 0, level 0: its counts differ"),
        ("UPDATE rung SET n_promoted = 0", "its counts differ"),
        ("UPDATE trial SET level = 3 WHERE number = 0", "trial 0: it cannot be at its level"),
        ("UPDATE attempt SET level = 2 WHERE outcome = 'finished'", "places in the rungs differ"),
        ("UPDATE attempt SET metric = 99 WHERE outcome = 'finished'", "its metric is not in its result"),
    ],
)
def test_each_breach_is_told(copied, damage, words):
    break_it(copied, damage)
    assert words in "\n".join(violations(copied))


def test_a_damaged_one_is_rebuilt_and_goes_on(copied, tmp_path):
    with Ledger.open(copied) as ledger:
        before = {trial.number: trial for trial in ledger.trials()}
    break_it(copied, "UPDATE trial SET digest = number WHERE number IN (1, 20)")
    break_it(copied, "DELETE FROM standing WHERE place > 5")
    rebuild(copied, tmp_path / "new")
    assert list(violations(tmp_path / "new")) == []
    with Ledger.open(tmp_path / "new") as ledger:
        assert ledger.search.brackets == levelled().brackets
        for trial in ledger.trials():
            if trial.number not in (1, 20):
                assert repr(trial.metrics) == repr(before[trial.number].metrics)
                assert (trial.level, trial.resource) == (
                    before[trial.number].level,
                    before[trial.number].resource,
                )
        worker = register(ledger)
        dead = [row[0] for row in sql(tmp_path / "new", "SELECT id FROM worker")]
        while isinstance(draw := ask(ledger, worker, max_attempts=9, dead=dead), Claim):
            finish(ledger, draw)
        assert draw is Draw.EXHAUSTED
    assert list(violations(tmp_path / "new")) == []
