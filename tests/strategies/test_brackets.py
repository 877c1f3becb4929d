"""The levels and brackets of Hyperband: golden tables, how trials are dealt, invalid options."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dahps_core.errors import ConfigurationError
from dahps_core.strategies.brackets import MODES, SIZES, Brackets

#: Table 1 of the paper (JMLR 2018), R = 81, eta = 3.
TABLE_1 = [
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    [(27, 3), (9, 9), (3, 27), (1, 81)],
    [(9, 9), (3, 27), (1, 81)],
    [(6, 27), (2, 81)],
    [(5, 81)],
]

#: What its Algorithm 1 computes.
ALGORITHM_1 = [
    TABLE_1[0],
    [(34, 3), (11, 9), (3, 27), (1, 81)],
    [(15, 9), (5, 27), (1, 81)],
    [(8, 27), (2, 81)],
    [(5, 81)],
]

GOLDEN = [
    ({"max_resource": 81}, ALGORITHM_1),
    ({"max_resource": 81, "sizes": "table_1"}, TABLE_1),
    (
        {"max_resource": 27},
        [[(27, 1), (9, 3), (3, 9), (1, 27)], [(12, 3), (4, 9), (1, 27)], [(6, 9), (2, 27)], [(4, 27)]],
    ),
    (
        {"max_resource": 243},  # floor(log(243) / log(3)) is 4
        [
            [(243, 1), (81, 3), (27, 9), (9, 27), (3, 81), (1, 243)],
            [(98, 3), (32, 9), (10, 27), (3, 81), (1, 243)],
            [(41, 9), (13, 27), (4, 81), (1, 243)],
            [(18, 27), (6, 81), (2, 243)],
            [(9, 81), (3, 243)],
            [(6, 243)],
        ],
    ),
    (
        {"max_resource": 16, "eta": 2},
        [
            [(16, 1), (8, 2), (4, 4), (2, 8), (1, 16)],
            [(10, 2), (5, 4), (2, 8), (1, 16)],
            [(7, 4), (3, 8), (1, 16)],
            [(5, 8), (2, 16)],
            [(5, 16)],
        ],
    ),
    (
        {"max_resource": 64, "eta": 4},
        [[(64, 1), (16, 4), (4, 16), (1, 64)], [(22, 4), (5, 16), (1, 64)], [(8, 16), (2, 64)], [(4, 64)]],
    ),
    # No powers of eta: the quotients are rounded, and the largest is what was asked for.
    (
        {"max_resource": 100},
        [
            [(81, 1), (27, 4), (9, 11), (3, 33), (1, 100)],
            [(34, 4), (11, 11), (3, 33), (1, 100)],
            [(15, 11), (5, 33), (1, 100)],
            [(8, 33), (2, 100)],
            [(5, 100)],
        ],
    ),
    ({"max_resource": 10, "eta": 4}, [[(4, 3), (1, 10)], [(2, 10)]]),
    ({"max_resource": 2, "eta": 3}, [[(1, 2)]]),
    ({"max_resource": 80}, [[(27, 3), (9, 9), (3, 27), (1, 80)], *[[] for _ in range(3)]]),
    (
        {"max_resource": 50, "min_resource": 10, "eta": 2},
        [[(4, 13), (2, 25), (1, 50)], [(3, 25), (1, 50)], [(3, 50)]],
    ),
    (
        {"max_resource": 0.8, "min_resource": 0.1, "eta": 2, "brackets": 1},
        [[(8, 0.1), (4, 0.2), (2, 0.4), (1, 0.8)]],
    ),
    ({"levels": [1, 2, 50]}, [[(9, 1), (3, 2), (1, 50)], [(5, 2), (1, 50)], [(3, 50)]]),
    ({"levels": [1, 3, 9], "brackets": 2}, [[(9, 1), (3, 3), (1, 9)], [(5, 3), (1, 9)]]),
]


@pytest.mark.parametrize(("options", "table"), GOLDEN, ids=[str(options) for options, _ in GOLDEN])
def test_golden_tables(options, table):
    brackets = Brackets.of(**options)
    found = [brackets.rungs(bracket) for bracket in range(len(brackets.sizes))]
    assert len(found) == len(table)
    assert all(rungs == golden for rungs, golden in zip(found, table, strict=True) if golden)


@given(st.integers(2, 5), st.integers(1, 10**6), st.integers(1, 50))
def test_the_levels_are_quotients_of_the_largest(eta, maximum, minimum):
    if minimum > maximum:
        return
    levels = Brackets.of(eta=eta, max_resource=maximum, min_resource=minimum).levels
    assert levels[-1] == maximum
    assert minimum <= levels[0]
    assert Fraction(maximum, eta ** len(levels)) < minimum, "one more level would go"
    assert all(low < high for low, high in pairwise(levels))
    for n_above, level in enumerate(reversed(levels)):
        assert abs(level - Fraction(maximum, eta**n_above)) <= Fraction(1, 2)


OPTIONS = st.builds(
    Brackets.of,
    eta=st.integers(2, 4),
    max_resource=st.integers(1, 300),
    sizes=st.sampled_from(sorted(SIZES)),
    resource=st.sampled_from(MODES),
)


@given(OPTIONS, st.integers(0, 2000))
def test_trials_are_dealt_by_their_numbers_round_after_round(brackets, n_trials):
    dealt = [brackets.bracket(number) for number in range(n_trials)]
    one_round = [first for first, size in enumerate(brackets.sizes) for _ in range(size)]
    assert dealt == [one_round[number % len(one_round)] for number in range(n_trials)]
    assert brackets.n_started(n_trials) == [dealt.count(first) for first in range(len(brackets.sizes))]


@given(OPTIONS)
def test_what_the_ledger_keeps_are_the_same_brackets(brackets):
    assert Brackets.from_json(brackets.to_json()) == brackets


def test_the_same_levels_are_the_same_search_however_they_were_given():
    assert Brackets.of(max_resource=81) == Brackets.of(levels=[1, 3, 9, 27, 81])


def test_what_a_trial_is_told_and_what_it_costs():
    total, increment = (Brackets.of(max_resource=9, resource=mode) for mode in MODES)
    first, second = 0, total.sizes[0]  # numbers of trials that start at levels 0 and 1
    assert [total.resource(first, level) for level in range(3)] == [1, 3, 9]
    assert [increment.resource(first, level) for level in range(3)] == [1, 2, 6]
    assert [increment.resource(second, level) for level in (1, 2)] == [3, 6]
    assert [total.cost(0, level) for level in range(3)] == [1, 2, 6]
    parts = Brackets.of(levels=[0.1, 0.3], resource="increment")
    assert parts.resource(0, 1) == 0.2, "and not 0.19999999999999998"


def test_what_is_used_is_what_was_started_and_what_promotions_add():
    brackets = Brackets.of(max_resource=9)  # sizes 9, 5, 3
    assert brackets.used(0, {}) == 0
    assert brackets.used(9, {(0, 0): 3, (0, 1): 1}) == 9 * 1 + 3 * 2 + 1 * 6
    assert brackets.used(11, {(1, 1): 1}) == 9 * 1 + 2 * 3 + 1 * 6
    assert Brackets.of(levels=[0.1, 0.3], brackets=1).used(7, {(0, 0): 2}) == 1.1


def test_one_in_eta_is_promoted_and_none_from_the_highest_level():
    brackets = Brackets.of(max_resource=9)
    assert [brackets.n_top(n, 0) for n in range(10)] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert brackets.n_top(9, brackets.top) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "max_resource: max_resource is not set"),
        ({"max_resource": 9, "eta": 1}, "eta: 1 is invalid"),
        ({"max_resource": 9, "eta": 2.5}, "eta: 2.5"),
        ({"max_resource": 0}, "max_resource: 0"),
        ({"max_resource": float("inf")}, "max_resource: inf"),
        ({"max_resource": True}, "max_resource: True"),
        ({"max_resource": 9, "min_resource": 10}, "above max_resource"),
        ({"max_resource": 9, "min_resource": float("nan")}, "min_resource: nan"),
        ({"max_resource": 1e300, "min_resource": 1e-300, "eta": 2}, "more than 1000 levels"),
        ({"max_resource": 9, "levels": [1, 9]}, "the levels determine it"),
        ({"min_resource": 1, "levels": [1, 9]}, "the levels determine it"),
        ({"levels": []}, "levels: [] is invalid. List increasing numbers"),
        ({"levels": 9}, "List increasing numbers"),
        ({"levels": [1, 1]}, "increasing numbers"),
        ({"levels": [1, "3"]}, "Give numbers above 0"),
        ({"max_resource": 9, "brackets": 4}, "Give 1 to 3, the number of levels"),
        ({"max_resource": 9, "brackets": 0}, "Give 1 to 3"),
        ({"max_resource": 9, "sizes": "table"}, "Give one of algorithm_1, table_1"),
        (
            {"max_resource": 9, "resource": "all"},
            "resource: all is invalid. Give one of total, increment",
        ),
    ],
)
def test_options_that_cannot_be_meant(options, words):
    with pytest.raises(ConfigurationError) as raised:
        Brackets.of(**options)
    assert words in str(raised.value)
