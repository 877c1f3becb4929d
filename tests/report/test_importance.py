import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dahps_core import Ledger, Search, SearchSpace
from dahps_core.report.importance import branches, explained
from dahps_core.report.survey import Survey, quantile
from tests.ledger.ledger_support import claimed, finish, register

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(st.integers(0, 3), FINITE), max_size=60))
def test_what_is_explained_is_a_share_and_the_same_for_ranks_alone(pairs):
    choices, metrics = [choice for choice, _ in pairs], [metric for _, metric in pairs]
    share = explained(choices, metrics)
    assert share is None or 0 <= share <= 1
    places = {metric: float(place) for place, metric in enumerate(sorted(set(metrics)))}
    assert explained(choices, [places[metric] for metric in metrics]) == share


def test_a_choice_that_decides_everything_explains_all_but_ties_within():
    assert explained("aabb", [1, 1, 2, 2]) == 1
    assert explained("abab", [1, 1, 2, 2]) == 0


def test_what_does_not_matter_explains_nothing_on_average_however_few_trials():
    luck = random.Random(0)
    shares = [explained("abcd" * 3, [luck.random() for _ in range(12)]) for _ in range(500)]
    assert sum(shares) / len(shares) < 0.12  # cut off at 0; the plain correlation ratio has 0.27
    assert sum(share == 0 for share in shares) > 250


@pytest.mark.parametrize("choices", ["aaaa", "abcd", ""])
def test_what_cannot_be_told_is_not_told(choices):
    assert explained(choices, [1.0, 2.0, 3.0, 4.0][: len(choices)]) is None


def test_a_key_is_judged_in_each_branch_that_decides_it(tmp_path):
    pair = {"key": "y", "values": [0, 1], "default": {"key": "z", "values": [0, 1], "default": None}}
    root = {
        "key": "x",
        "values": ["a", "b"],
        "a": pair,
        "b": {"key": "y", "values": [0, 1, 2, 3], "default": None},
    }
    config = {"root": root, "repetitions": 2}
    with Ledger.join(tmp_path, Search(SearchSpace.from_config(config), "grid", seed=0)) as ledger:
        worker = register(ledger)
        for _ in range(ledger.space.n_trials):
            claim = claimed(ledger, worker)
            finish(ledger, claim, float(claim.combination["y"] if claim.combination["x"] == "a" else 100))
        found = {branch.name: branch.importance for branch in branches(Survey.of(ledger))}
    assert found["x=a"]["y"] == 1
    assert found["x=a"]["z"] == 0
    assert found["x=b"] == {"y": None}


@given(st.lists(FINITE, min_size=2))
def test_quartiles_are_those_of_the_standard_library(values):
    ascending = sorted(value / 4 for value in values)  # whose differences are floats
    found = [quantile(ascending, share) for share in (0.25, 0.5, 0.75)]
    assert found == pytest.approx(statistics.quantiles(ascending, method="inclusive"), rel=1e-9, abs=1e-290)
