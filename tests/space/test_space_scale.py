"""Spaces of any size and depth cost what their distinct nodes cost."""

import tracemalloc

import pytest

from dahps_core.errors import SearchSpaceError
from dahps_core.space import SearchSpace
from tests.space import seeds_tree


def chain(depth, values):
    node = None
    for level in range(depth):
        node = {"key": f"k{level}", "values": values, "default": node}
    return {"root": node}


def test_the_seeds_tree_is_counted_and_indexed_without_being_enumerated():
    tracemalloc.start()
    try:
        space = SearchSpace.from_config(seeds_tree.corrected())
        assert space.size == seeds_tree.SIZE
        assert [space.index(space[i]) for i in (0, 777_777, -1)] == [0, 777_777, seeds_tree.SIZE - 1]
        assert dict(space[0])["experiment_type"] == "shearlet"
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_a_space_of_a_quadrillion_costs_what_a_small_one_does():
    space = SearchSpace.from_config(chain(15, list(range(10))))
    assert space.size == 10**15
    assert list(space[123_456_789_012_345].values()) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5]
    shuffled = [next(space.shuffled(seed)) for seed in range(50)]
    assert len({space.index(combination) for combination in shuffled}) == 50


def test_a_space_may_be_larger_than_any_machine_word():
    space = SearchSpace.from_config(chain(5000, [0, 1]))
    assert space.size == 2**5000
    position = int("01" * 2500, 2)
    assert list(space[position].values()) == [0, 1] * 2500
    assert space.index(space[position]) == position
    assert len(next(space.shuffled(1))) == 5000
    with pytest.raises(IndexError, match="of a space of about"):
        space[2**5000]


def test_a_tree_may_be_deeper_than_any_recursion():
    space = SearchSpace.from_config(chain(20_000, ["only"]))
    again = SearchSpace.from_definition(space.definition())
    assert space.size == 1
    assert again.digest() == space.digest()
    assert again.index(space[0]) == 0
    assert sum(1 for _ in space.levels()) == 20_000
    shorter = SearchSpace.from_config(chain(19_999, ["only"]))
    assert space.differences(shorter) == ['root: level "k19999" removed']


def test_a_deep_tree_with_a_fault_on_every_level_is_read_to_its_end():
    with pytest.raises(SearchSpaceError) as caught:
        SearchSpace.from_config(chain(5000, []))
    assert len(caught.value.faults) == 5000


def test_sharing_in_many_ways_is_not_multiplied_out():
    node = None
    for level in range(200):
        node = {"key": f"k{level}", "values": [0, 1], "cases": {0: node, 1: node}}
    space = SearchSpace.from_config({"root": node})
    assert space.size == 2**200
    assert len(list(space.levels())) == 200
