"""All words of a tree at once: counts against enumeration, indices, `then`, `exclude`, `only`, draws."""

import json
from collections import Counter
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dahps_core.errors import SearchSpaceError
from dahps_core.model.combination import canonical
from dahps_core.space import SearchSpace
from dahps_core.strategies.by_level import draw_by_level
from tests.space.trees_of_words import nodes


def walked(node):
    """Each combination of a tree, by the words' plain meaning, as a dict."""
    if node is None:
        yield {}
        return
    alone = {word: found for word, found in node.items() if word not in ("cases", "then")}
    values = SearchSpace.from_config({"root": {**alone, "default": None}})
    for combination in values:
        value = combination[node["key"]]
        below = node.get("cases", {}).get(value, node["default"])
        for upper, lower in product(list(walked(below)), list(walked(node.get("then")))):
            yield {node["key"]: value, **upper, **lower}


def matches(combination, exclusion):
    return all(
        key in combination and canonical(combination[key]) in {canonical(one) for one in values}
        for key, values in exclusion.items()
    )


@given(nodes(), st.data())
def test_the_space_has_what_the_words_mean(root, data):
    expected = list(walked(root))
    assume(len(expected) <= 2000)
    exclusions = []
    for _ in range(data.draw(st.integers(0, 2))):
        whole = data.draw(st.sampled_from(expected))
        keys = data.draw(st.lists(st.sampled_from(sorted(whole)), min_size=1, unique=True)) if whole else []
        if keys:
            exclusions.append({key: [whole[key]] for key in keys})
    left = [one for one in expected if not any(matches(one, exclusion) for exclusion in exclusions)]
    config = {"root": root, "exclude": exclusions}
    if not left:
        with pytest.raises(SearchSpaceError, match="every combination"):
            SearchSpace.from_config(config)
        return
    space = SearchSpace.from_config(config)
    assert space.size == len(left)
    assert [canonical(dict(one)) for one in space] == [canonical(one) for one in left]
    for position in range(space.size):
        assert space.index(space[position]) == position
    again = SearchSpace.from_definition(json.loads(json.dumps(space.definition())))
    assert again.digest() == space.digest()
    assert list(again) == list(space)
    assert {canonical(dict(one)) for one in space.sample()} <= {canonical(dict(one)) for one in space}
    chosen = data.draw(st.sampled_from(left))
    if chosen:
        key = data.draw(st.sampled_from(sorted(chosen)))
        branch = space.only({key: [chosen[key]]})
        assert list(branch) == [one for one in space if matches(one, {key: [chosen[key]]})]


@given(nodes(), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_draw_is_a_position_that_its_arguments_determine(root, seed, number):
    space = SearchSpace.from_config({"root": root})
    assert draw_by_level(space, seed, number, 0) == draw_by_level(space, seed, number, 0)
    assert 0 <= draw_by_level(space, seed, number, 0) < space.size


def drawn(space, n):
    return [space[draw_by_level(space, 7, number, 0)] for number in range(n)]


def chi_squared(counts, shares, n):
    return sum((counts[value] - n * share) ** 2 / (n * share) for value, share in shares.items())


def test_each_value_of_a_node_is_drawn_alike_whatever_is_below():
    small = {"key": "x", "values": [1, 2, 3], "default": None}
    large = {"key": "y", "interval": [0.0, 1.0], "default": {"key": "z", "interval": [1, 9], "default": None}}
    root = {"key": "model", "values": ["a", "b"], "a": small, "b": large}
    counts = Counter(one["model"] for one in drawn(SearchSpace.from_config({"root": root}), 4000))
    assert chi_squared(counts, {"a": 0.5, "b": 0.5}, 4000) < 10.8  # p = 0.001


@pytest.mark.parametrize("weights", [[1, 2, 5], {"a": 1, "b": 2, "c": 5}])
def test_weights_say_how_often(weights):
    root = {"key": "x", "values": ["a", "b", "c"], "weights": weights, "default": None}
    counts = Counter(one["x"] for one in drawn(SearchSpace.from_config({"root": root}), 8000))
    assert chi_squared(counts, {"a": 1 / 8, "b": 2 / 8, "c": 5 / 8}, 8000) < 13.8


def test_an_interval_is_drawn_evenly_or_in_its_logarithm():
    for words, bound in (({"interval": [0.0, 1.0]}, 0.5), ({"interval": [0.01, 1.0], "log": True}, 0.1)):
        space = SearchSpace.from_config({"root": {"key": "x", **words, "default": None}})
        below = sum(one["x"] < bound for one in drawn(space, 4000))
        assert 1850 < below < 2150


def test_draws_never_change_between_versions():
    root = {"key": "x", "values": ["a", "b"], "weights": [1, 3], "default": None}
    root["then"] = {"key": "lr", "interval": [1e-5, 0.1], "log": True, "default": None}
    space = SearchSpace.from_config({"root": root})
    assert [draw_by_level(space, 1, number, 0) for number in range(6)] == [6762, 5444, 3695, 514, 3701, 146]


def test_a_sub_interval_is_excluded():
    root = {"key": "x", "interval": [0.0, 1.0], "default": {"key": "y", "values": [1, 2], "default": None}}
    exclude = [{"x": {"interval": [0.2, 0.3]}, "y": 2}, {"x": 0.5}]
    space = SearchSpace.from_config({"root": root, "exclude": exclude})
    assert space.size == 2 * 1001 - 101 - 2
    assert not [one for one in space if 0.2 <= one["x"] <= 0.3 and one["y"] == 2]
    assert space.only({"x": {"interval": [0.2, 0.3]}}).size == 101
    assert all(space.index(space[position]) == position for position in range(space.size))


def test_integers_and_real_numbers_are_not_confused():
    real = {"key": "x", "interval": [0.0, 4.0], "step": 1.0, "default": None}
    root = {
        "key": "a",
        "values": [1, 2],
        "cases": {1: {**real, "interval": [0, 4], "step": 1}},
        "default": real,
    }
    space = SearchSpace.from_config({"root": root})
    assert [type(one["x"]) for one in space] == [int] * 5 + [float] * 5


def test_twenty_intervals_are_opened_without_listing_them():
    root = None
    for number in range(20):
        root = {"key": f"x{number}", "interval": [1e-6, 1.0], "log": True, "default": root}
    space = SearchSpace.from_config({"root": root})
    assert space.size == 5401**20
    assert space.index(space[space.size // 3]) == space.size // 3
    assert len(json.dumps(space.definition())) < 10_000


@pytest.mark.parametrize(
    ("node", "fault"),
    [
        ({"interval": [1, 0]}, "root.interval: 0 is not above 1"),
        ({"interval": [0, 1.0], "log": True}, "root.interval: the logarithm of 0 does not exist"),
        ({"interval": [0, float("nan")]}, "is not [low, high]"),
        ({"interval": [0, "1"]}, "is not [low, high]"),
        ({"interval": [0, 1], "step": 2}, "root.step: 2 is larger than the interval"),
        ({"interval": [0, 1], "step": -1}, "root.step: -1 is not positive"),
        ({"interval": [0, 9], "points": 1}, "root.points: 1 is not a number from 2"),
        ({"interval": [0, 3], "points": 9}, "root.points: the interval has no 9 different values"),
        ({"interval": [0, 9], "points": 3, "step": 1}, "root.points: `points` beside `step`"),
        ({"interval": [1, 9], "log": True, "step": 1}, "root.log: `log` beside `step`"),
        ({"interval": [0, 1], "log": 1}, "root.log: 1 is not a boolean"),
        ({"interval": [0, 1], "values": [1]}, "root.values: `values` beside an interval"),
        ({"interval": [0, 1], "weights": [1]}, "root.weights: `weights` beside an interval"),
        ({"interval": [0, 9], "cases": {"3": None}}, "`cases` beside an interval"),
        ({"interval": [0, 9], 3: None}, "a subtree of one value of an interval"),
        ({"values": [1], "step": 1}, "root.step: `step` without an interval"),
        ({"values": [1, 2], "weights": [1]}, "root.weights: [1] is not a weight for each value"),
        ({"values": [1, 2], "weights": [0, 0]}, "no value has a weight above 0"),
        ({"values": [1, 2], "weights": {"3": 1}}, 'root.weights: "3" is not in `values`'),
        ({"values": [1, 2], "weights": [1, -1]}, "root.weights[1]: -1 is not a weight"),
    ],
)
def test_faults_of_the_words(node, fault):
    with pytest.raises(SearchSpaceError) as caught:
        SearchSpace.from_config({"root": {"key": "x", "default": None, **node}})
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("exclude", "fault"),
    [
        ({"x": 1}, "exclude: {'x': 1} is not a list"),
        ([1], "exclude[0]: 1 is not a mapping"),
        ([{}], "exclude[0]: {} is not a mapping"),
        ([{"x": 4}], "exclude[0]: no combination matches"),
        ([{"z": 4}], "exclude[0]: no combination matches"),
        ([{"x": [1, 2]}], "exclude: every combination matches"),
    ],
)
def test_faults_of_exclusions(exclude, fault):
    with pytest.raises(SearchSpaceError) as caught:
        SearchSpace.from_config({"root": {"key": "x", "values": [1, 2], "default": None}, "exclude": exclude})
    assert fault in str(caught.value)


def test_exclusions_that_divide_too_much_are_refused():
    root = None
    for number in reversed(range(40)):
        root = {"key": f"x{number}", "values": [0, 1], "default": root}
    exclude = [{f"x{number}": 0, f"x{number + 20}": 0} for number in range(20)]
    with pytest.raises(SearchSpaceError, match=r"more than 20,000 nodes"):
        SearchSpace.from_config({"root": root, "exclude": exclude})


def test_a_key_that_repeats_through_then_is_a_fault():
    inner = {"key": "x", "values": [1], "default": None}
    root = {"key": "a", "values": [1], "default": {"key": "x", "values": [1], "default": None}, "then": inner}
    with pytest.raises(
        SearchSpaceError, match=r"root\(a\)\.then\.key: \"x\" is decided at root\(a\)\.default"
    ):
        SearchSpace.from_config({"root": root})


def test_faults_are_told_together():
    root = {"key": "a", "interval": [1, 0], "default": {"key": "", "values": [], "default": None}}
    with pytest.raises(SearchSpaceError, match="4 faults"):
        SearchSpace.from_config({"root": root, "exclude": 1})
