"""The space of a correct config: its size, its order, its inverse, its definition."""

import copy
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dahps_core.model.combination import Combination, canonical
from dahps_core.space import SearchSpace
from tests.space import seeds_tree
from tests.space.trees import configs, naive


def texts(combinations):
    return [canonical(list(combination.items())) for combination in combinations]


@given(configs())
def test_a_space_is_what_plain_recursion_enumerates(config):
    space = SearchSpace.from_config(config)
    assert texts(space) == texts(naive(config))
    assert space.size == len(space) == len(naive(config))
    assert space.n_trials == space.size * config["repetitions"]


@given(configs(), st.data())
def test_index_is_the_inverse_of_an_item(config, data):
    space = SearchSpace.from_config(config)
    i = data.draw(st.integers(0, space.size - 1))
    assert space.index(space[i]) == i
    assert space[i - space.size] == space[i]
    assert space.index(Combination.from_json(space[i].to_json())) == i


@given(configs())
def test_a_sample_passes_each_value_of_each_level(config):
    space = SearchSpace.from_config(config)
    sample = list(space.sample())
    assert len(set(map(space.index, sample))) == len(sample)
    levels = [(key, value) for _, key, values in space.levels() for value in values]
    assert len(sample) <= max(1, len(levels))
    passed = {(key, canonical(value)) for combination in sample for key, value in combination.items()}
    assert passed == {(key, canonical(value)) for key, value in levels}


def test_a_sample_of_a_large_space_is_small():
    space = SearchSpace.from_config(seeds_tree.corrected())
    assert len(list(space.sample())) < 15


@given(configs(unique=False))
def test_occurrences_number_the_equal_combinations(config):
    space = SearchSpace.from_config(config)
    assert [space.index(combination) for combination in space] == list(range(space.size))
    by_text = itertools.groupby(sorted(space, key=Combination.canonical), key=Combination.canonical)
    for _, equal in by_text:
        occurrences = sorted(combination.occurrence for combination in equal)
        assert occurrences == list(range(len(occurrences)))


@given(configs(unique=False), st.integers())
def test_a_shuffled_space_has_each_combination_once(config, seed):
    space = SearchSpace.from_config(config)
    assert sorted(map(space.index, space.shuffled(seed))) == list(range(space.size))
    assert texts(space.shuffled(seed)) == texts(space.shuffled(seed))


@given(configs(unique=False))
def test_a_definition_survives_json_and_describes_the_space(config):
    space = SearchSpace.from_config(config)
    again = SearchSpace.from_definition(json.loads(json.dumps(space.definition())))
    assert texts(again) == texts(space)
    assert again.digest() == space.digest()
    assert again.repetitions == space.repetitions
    assert space.differences(again) == []


def test_a_digest_does_not_depend_on_how_subtrees_are_shared():
    shared = SearchSpace.from_config(seeds_tree.corrected())
    expanded = SearchSpace.from_config(json.loads(json.dumps(seeds_tree.corrected())))
    assert shared.definition() == expanded.definition()
    assert shared.digest() == expanded.digest()
    assert len(shared.definition()["nodes"]) == 19


def test_the_digest_never_changes_since_ledgers_know_their_spaces_by_it():
    space = SearchSpace.from_config(seeds_tree.corrected())
    assert space.digest() == "6630a5b6d981c3282ad05aeb5ca7480407d9c16fc2e696d72da79a6a7cef37af"


@given(configs(), configs())
def test_a_digest_tells_spaces_apart(one, other):
    spaces = [SearchSpace.from_config(config) for config in (one, other)]
    definitions = [canonical(space.definition()) for space in spaces]
    assert (spaces[0].digest() == spaces[1].digest()) == (definitions[0] == definitions[1])


def test_a_leaf_is_a_space_of_one_combination():
    space = SearchSpace.from_config({"root": None, "common": {"lr": 0.1}})
    assert [dict(combination) for combination in space] == [{"lr": 0.1}]
    assert space.index(space[0]) == 0


def test_common_keys_come_first_and_take_part_in_identity():
    space = SearchSpace.from_config(
        {"root": {"key": "a", "values": [1], "default": None}, "common": {"z": 0}}
    )
    assert list(space[0]) == ["z", "a"]
    with pytest.raises(ValueError, match="every combination of the space has z=0"):
        space.index(Combination([("z", 1), ("a", 1)]))


def test_a_case_may_stand_in_the_node_or_under_cases():
    deeper = {"key": "b", "values": [1, 2], "default": None}
    in_node = {"key": "a", "values": ["x", "y"], "default": None, "y": deeper}
    listed = {"key": "a", "values": ["x", "y"], "default": None, "cases": {"y": deeper}}
    assert SearchSpace.from_config({"root": in_node}).size == 3
    assert (
        SearchSpace.from_config({"root": in_node}).digest()
        == SearchSpace.from_config({"root": listed}).digest()
    )


def test_values_may_be_called_as_the_reserved_words_are():
    words = ["key", "values", "default", "cases"]
    deeper = {"key": "b", "values": [1, 2], "default": None}
    space = SearchSpace.from_config(
        {"root": {"key": "a", "values": words, "cases": dict.fromkeys(words, deeper)}}
    )
    assert space.size == 8


def test_null_lists_and_mappings_are_named_by_their_json_text():
    deeper = {"key": "b", "values": [1, 2], "default": None}
    root = {"key": "a", "values": [None, [1, 2], {"x": 1}, 5], "default": None}
    named = {"null": deeper, "[1,  2]": deeper, '{"x": 1}': deeper}
    assert SearchSpace.from_config({"root": {**root, **named}}).size == 7


def test_one_and_one_point_nought_and_true_are_three_values():
    root = {"key": "a", "values": [1, 1.0, True, "1"], "default": None}
    space = SearchSpace.from_config({"root": root})
    assert [space.index(combination) for combination in space] == [0, 1, 2, 3]


def test_no_default_is_needed_where_every_value_has_its_own_subtree():
    deeper = {"key": "b", "values": [1, 2], "default": None}
    assert SearchSpace.from_config({"root": {"key": "a", "values": [1, 2], 1: None, 2: deeper}}).size == 3


def test_tuples_are_read_as_lists():
    space = SearchSpace.from_config({"root": {"key": "a", "values": ((1, (2,)), 3), "default": None}})
    assert space[0]["a"] == [1, [2]]


@pytest.mark.parametrize("position", [4, -5, 10**30])
def test_a_position_outside_is_an_index_error(position):
    space = SearchSpace.from_config({"root": {"key": "a", "values": [1, 2, 3, 4], "default": None}})
    with pytest.raises(IndexError, match="of a space of 4 combinations"):
        space[position]


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([("a", 3)], "no a=3"),
        ([("a", True)], "no a=true"),
        ([], "lacks 'a'"),
        ([("a", 2)], "lacks 'b'"),
        ([("a", 1), ("b", 5)], "does not decide b there"),
    ],
)
def test_a_combination_that_the_space_lacks_is_a_value_error(items, text):
    deeper = {"key": "b", "values": [5], "default": None}
    space = SearchSpace.from_config({"root": {"key": "a", "values": [1, 2], "default": None, 2: deeper}})
    with pytest.raises(ValueError, match=text):
        space.index(Combination(items))


def test_an_occurrence_that_the_space_lacks_is_a_value_error():
    space = SearchSpace.from_config(
        {"root": {"key": "a", "values": [1, 1], "default": None}, "check_unique": False}
    )
    assert space.index(Combination([("a", 1)], occurrence=1)) == 1
    with pytest.raises(ValueError, match="no occurrence 2 of"):
        space.index(Combination([("a", 1)], occurrence=2))


def test_levels_are_each_distinct_node_once_with_its_path():
    tail = {"key": "lr", "values": [0.1, 0.2], "default": None}
    root = {
        "key": "a",
        "values": ["x", "y z"],
        "default": tail,
        "y z": {"key": "b", "values": [1], "default": tail},
    }
    space = SearchSpace.from_config({"root": root, "common": {"seed": 1}})
    assert [(path, key, list(values)) for path, key, values in space.levels()] == [
        ("common.seed", "seed", [1]),
        ("root", "a", ["x", "y z"]),
        ("root(a).x", "lr", [0.1, 0.2]),
        ('root(a)."y z"', "b", [1]),
    ]


def test_reading_leaves_the_config_as_it_was():
    config = seeds_tree.corrected()
    before = copy.deepcopy(config)
    SearchSpace.from_config(config)
    assert config == before
