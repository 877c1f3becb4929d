"""Random search draws level by level; what it cannot reach, the cursor completes: each combination once."""

import sqlite3
from collections import Counter
from contextlib import closing

import pytest
from ledger_support import ask, assert_sound, claimed, finish, register, sql

from dahps_core import Ledger, Search, SearchSpace
from dahps_core.errors import SearchChangedError
from dahps_core.ledger import FILE_NAME
from dahps_core.ledger.folder.run_limits import RunLimits
from dahps_core.ledger.progress import ProgressReader
from dahps_core.ledger.repair.rebuild import rebuild
from dahps_core.model.records import Draw
from dahps_core.space.permutation import Permutation
from dahps_core.strategies.brackets import Brackets
from dahps_core.strategies.by_level import draw_by_level

SMALL = {"key": "x", "values": [1, 2, 3], "default": None}
LARGE = {"key": "y", "values": list(range(1000)), "default": None}
TREE = {"root": {"key": "model", "values": ["a", "b"], "a": SMALL, "b": LARGE}}
INTERVAL = {"root": {"key": "lr", "interval": [1e-4, 0.1], "log": True, "default": None}}


def joined(folder, config=TREE, strategy="random", **options):
    return Ledger.join(folder, Search(SearchSpace.from_config(config), strategy, seed=5, **options))


def drawn(ledger, n):
    worker = register(ledger)
    found = []
    for _ in range(n):
        claim = claimed(ledger, worker)
        finish(ledger, claim)
        found.append(claim)
    return found


def test_a_small_branch_beside_a_large_one_is_searched(folder):
    with joined(folder) as ledger:
        models = Counter(claim.combination["model"] for claim in drawn(ledger, 40))
    assert models["a"] == 3
    assert_sound(folder)


def test_seed_and_number_decide_a_draw(folder, tmp_path):
    with joined(folder) as ledger, joined(tmp_path / "other") as other:
        workers = [register(other), register(other)]
        first = [claim.combination for claim in drawn(ledger, 20)]
        second = [claimed(other, workers[number % 2]).combination for number in range(20)]
        assert first == second
        assert first[0] == ledger.space[draw_by_level(ledger.space, 5, 0, 0)]


def test_each_combination_runs_once_until_none_is_left(folder):
    config = {
        "root": {**SMALL, "default": {"key": "z", "values": ["a", "b"], "weights": [1, 0], "default": None}}
    }
    with joined(folder, config) as ledger:
        claims = drawn(ledger, 6)
        assert ask(ledger, register(ledger)) is Draw.EXHAUSTED
        assert ProgressReader(ledger).remaining(RunLimits()) == 0
    assert len({claim.combination.digest() for claim in claims}) == 6
    assert_sound(folder)


def test_the_repetitions_of_a_combination_follow_each_other(folder):
    with joined(folder, {**TREE, "repetitions": 3}) as ledger:
        claims = drawn(ledger, 12)
    assert [claim.repetition for claim in claims] == [0, 1, 2] * 4
    assert len({claim.combination.digest() for claim in claims}) == 4


def test_what_is_left_is_counted(folder):
    with joined(folder) as ledger:
        drawn(ledger, 10)
        assert ProgressReader(ledger).remaining(RunLimits()) == 993
        with Ledger.join(folder, ledger.search, only={"model": "b"}) as branch:
            drawn(branch, 1)
        assert ProgressReader(ledger).remaining(RunLimits()) == 992
    assert_sound(folder)


def test_uniform_draws_every_combination_alike(folder):
    with joined(folder, strategy="uniform") as ledger:
        found = [ledger.space.index(claim.combination) for claim in drawn(ledger, 5)]
    assert found == list(Permutation(1003, 5))[:5]


@pytest.mark.parametrize(
    ("strategy", "options"), [("random", {}), ("hyperband", {"brackets": Brackets.of(max_resource=9)})]
)
def test_a_ledger_of_an_older_version_keeps_its_order(folder, strategy, options):
    joined(folder, strategy=strategy, **options).close()
    with closing(sqlite3.connect(folder / FILE_NAME)) as database, database:
        database.execute("DROP TRIGGER IF EXISTS meta_stays")
        database.execute("UPDATE meta SET is_uniform = 1")
    with joined(folder, strategy=strategy, **options) as ledger:
        found = [ledger.space.index(claim.combination) for claim in drawn(ledger, 9)]
    assert list(dict.fromkeys(found))[:5] == list(Permutation(1003, 5))[:5]


def test_any_value_inside_an_interval_can_be_enqueued(folder):
    with joined(folder, INTERVAL) as ledger:
        ledger.enqueue([{"lr": 0.0123456}, {"lr": 0.01}])
        left = ProgressReader(ledger).remaining(RunLimits())
        assert left == ledger.space.size + 1
        claims = drawn(ledger, 2)
        assert [claim.combination["lr"] for claim in claims] == [0.0123456, 0.01]
        assert ProgressReader(ledger).remaining(RunLimits()) == ledger.space.size - 1
        with pytest.raises(Exception, match=r"no lr=0\.2"):
            ledger.enqueue([{"lr": 0.2}])
    assert_sound(folder)
    assert sql(folder, "SELECT n_enqueued, n_between FROM space") == [(2, 1)]
    rebuild(folder, folder.with_name("new"))
    assert sql(folder.with_name("new"), "SELECT n_enqueued, n_between FROM space") == [(2, 1)]
    assert_sound(folder.with_name("new"))


def test_other_weights_are_another_search(folder):
    def weighted(*weights):
        return {"root": {"key": "x", "values": [1, 2, 3], "weights": list(weights), "default": None}}

    joined(folder, weighted(1, 2, 3)).close()
    joined(folder, weighted(1, 2, 3)).close()
    with pytest.raises(SearchChangedError, match="other weights"):
        joined(folder, weighted(3, 2, 1))


def test_an_interval_has_no_order_for_a_grid():
    with pytest.raises(Exception, match="Add points: 5 to each interval"):
        Search(SearchSpace.from_config(INTERVAL), "grid")
    Search(SearchSpace.from_config({"root": {**INTERVAL["root"], "points": 5}}), "grid")
