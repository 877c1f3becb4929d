"""One branch of a space: the combinations that have certain values for certain keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import configs, naive

from dahps_core.errors import ConfigurationError
from dahps_core.model.combination import canonical
from dahps_core.space import SearchSpace


def levels(count, width):
    below = levels(count - 1, width) if count > 1 else None
    return {"key": f"x{count}", "values": list(range(width)), "default": below}


@st.composite
def branches(draw):
    """A config and what a branch of it is made of, by some of the values of some of its keys."""
    config = draw(configs(unique=draw(st.booleans())))
    combinations = naive(config)
    keys = sorted({key for combination in combinations for key in combination})
    chosen = draw(st.lists(st.sampled_from(keys), max_size=3, unique=True)) if keys else []
    only = {}
    for key in chosen:
        values = [combination[key] for combination in combinations if key in combination]
        only[key] = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
    return config, only


def has(combination, only):
    return all(
        key in combination and canonical(combination[key]) in map(canonical, values)
        for key, values in only.items()
    )


@given(branches())
def test_the_branch_is_what_has_all_the_values_in_the_order_of_the_space(branch):
    config, only = branch
    space = SearchSpace.from_config(config)
    expected = [combination for combination in naive(config) if has(combination, only)]
    if not expected:
        with pytest.raises(ConfigurationError, match="together"):
            space.only(only)
        return
    pruned = space.only(only)
    assert list(pruned) == expected
    assert pruned.size == len(expected)
    assert pruned.repetitions == space.repetitions
    assert SearchSpace.from_definition(pruned.definition()).digest() == pruned.digest()


@given(configs())
def test_of_nothing_it_is_the_whole_space(config):
    space = SearchSpace.from_config(config)
    assert space.only({}).digest() == space.digest()


def test_it_is_the_space_that_a_person_would_have_written():
    deit = {"key": "size", "values": [16, 32], "default": None}
    resnet = {"key": "depth", "values": [1, 2], "default": {"key": "size", "values": [16], "default": None}}
    models = {"key": "model", "values": ["deit", "resnet"], "cases": {"resnet": resnet}, "default": deit}
    config = {"root": {"key": "lr", "values": [0.1, 0.2], "default": models}, "repetitions": 2}
    alone = {"key": "model", "values": ["deit"], "default": {"key": "size", "values": [16], "default": None}}
    by_hand = {"root": {"key": "lr", "values": [0.1, 0.2], "default": alone}, "repetitions": 2}
    pruned = SearchSpace.from_config(config).only({"model": "deit", "size": [16]})
    assert pruned.digest() == SearchSpace.from_config(by_hand).digest()


def test_nothing_is_enumerated():
    space = SearchSpace.from_config({"root": levels(15, 10)})
    pruned = space.only({"x3": [1, 0], "x15": 1})
    assert pruned.size == 2 * 10**13
    assert len(pruned.definition()["nodes"]) == 15


def test_a_tree_of_any_depth():
    root = None
    for level in range(3000):
        root = {"key": f"x{level}", "values": [0, 1], "default": root}
    space = SearchSpace.from_config({"root": root})
    assert space.only({"x0": 1, "x2999": [0]}).size == 2**2998


def test_common_keys_count():
    space = SearchSpace.from_config({"root": levels(1, 2), "common": {"lr": 0.1}})
    assert space.only({"lr": 0.1}).size == 2
    with pytest.raises(ConfigurationError, match=r"no lr=0.2.*0.1"):
        space.only({"lr": 0.2})
    assert SearchSpace.from_config({"root": None, "common": {"lr": 0.1}}).only({"lr": [0.1]}).size == 1


@pytest.mark.parametrize(
    ("only", "words"),
    [
        ({"modle": "deit"}, ["no key", "modle", "Did you mean model"]),
        ({"zzz": "deit"}, ["no key", "Its keys are model, size, depth"]),
        ({"model": "vit"}, ['no model="vit"', "deit", "resnet"]),
        ({"model": ["deit", "vit"]}, ['no model="vit"', "deit", "resnet"]),
        ({"size": 16.0}, ["no size=16.0", "16, 32"]),
        ({"size": []}, ["no value of size", "16, 32"]),
        ({"model": "resnet", "size": 16}, ["model, size", "together"]),
    ],
)
def test_what_stands_nowhere_is_told_with_the_choices(only, words):
    deit = {"key": "size", "values": [16, 32], "default": None}
    resnet = {"key": "depth", "values": [1, 2], "default": None}
    models = {"key": "model", "values": ["deit", "resnet"], "cases": {"resnet": resnet}, "default": deit}
    with pytest.raises(ConfigurationError) as told:
        SearchSpace.from_config({"root": models}).only(only)
    assert all(word in str(told.value) for word in words)
