"""The random order: a bijection that never changes and favours nothing."""

from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dahps_core.space.permutation import Permutation


@given(st.integers(1, 3000), st.integers())
def test_each_position_has_its_own_image(n, seed):
    assert sorted(Permutation(n, seed)) == list(range(n))


@given(st.integers(1, 10**40), st.integers(), st.data())
def test_images_stay_in_range_at_any_size(n, seed, data):
    i = data.draw(st.integers(0, n - 1))
    permutation = Permutation(n, seed)
    assert 0 <= permutation[i] < n
    assert permutation[i - n] == permutation[i]


@pytest.mark.parametrize(
    ("n", "seed", "first"),
    [
        (10, 0, [7, 4, 0, 9, 8, 1]),
        (1_719_168, 42, [997651, 1527579, 1164450, 778426, 860771, 517168]),
        (10**30, 7, [496672278101595045576414678929, 216127672945812752631368699387]),
    ],
)
def test_the_order_never_changes_since_ledgers_rest_on_it(n, seed, first):
    permutation = Permutation(n, seed)
    assert [permutation[i] for i in range(len(first))] == first


def test_all_orders_of_four_things_come_about_equally_often():
    n_seeds = 4800
    counts = Counter(tuple(Permutation(4, seed)) for seed in range(n_seeds))
    expected = n_seeds / 24
    chi_square = sum((counts[order] - expected) ** 2 / expected for order in permutations(range(4)))
    assert chi_square < 49.7  # 23 degrees of freedom: chance exceeds it once in a thousand


@pytest.mark.parametrize("seed", range(5))
def test_first_draws_are_spread_over_the_branches(seed):
    permutation = Permutation(10**12, seed)
    counts = Counter(permutation[i] * 16 // 10**12 for i in range(1600))
    chi_square = sum((counts[branch] - 100) ** 2 / 100 for branch in range(16))
    assert chi_square < 37.7  # 15 degrees of freedom: chance exceeds it once in a thousand


def test_another_seed_is_another_order():
    assert len({tuple(Permutation(20, seed)) for seed in range(-50, 50)}) == 100


@pytest.mark.parametrize("n", [0, -1])
def test_nothing_cannot_be_permuted(n):
    with pytest.raises(ValueError, match="cannot permute"):
        Permutation(n, 0)


@pytest.mark.parametrize("position", [5, -6])
def test_a_position_outside_is_an_index_error(position):
    with pytest.raises(IndexError, match="of 5"):
        Permutation(5, 0)[position]
