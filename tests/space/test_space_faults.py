"""A bad config is refused with every fault, each with its place, what was found and what would be right."""

from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dahps_core.errors import SearchSpaceError
from dahps_core.space import SearchSpace
from tests.space import seeds_tree
from tests.space.trees import configs, texts, values

LEAF = {"key": "a", "values": [1], "default": None}


class Colour(str, Enum):
    RED = "red"


def faults(config):
    with pytest.raises(SearchSpaceError) as caught:
        SearchSpace.from_config(config)
    return [str(fault) for fault in caught.value.faults]


def root_faults(node):
    return faults({"root": {**LEAF, **node}})


def test_the_seeds_as_they_were_written_have_three_faults():
    assert faults(seeds_tree.as_written()) == [
        "root(experiment_type).default(model_type).default(model).default(learning_rate).default(batch_size)"
        ".default: a tuple that holds one mapping (a trailing comma after it in the Python file?)",
        "root(experiment_type).default(model_type).deit.values: is empty (list at least one value)",
        "root(experiment_type).shearlet.value: unknown word (write `values`)",
    ]


def test_what_is_in_a_node_with_faults_is_read_all_the_same():
    found = faults(
        {
            "root": [
                {"key": "a", "valves": [1, object()], "default": {"key": "", "values": [], "default": None}}
            ],
            "repetitions": 0,
        }
    )
    assert [fault.partition(":")[0] for fault in found] == [
        "repetitions",
        "root",
        "root.valves",
        "root.valves[1]",
        "root(a).default.values",
        "root(a).default.key",
    ]


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        (7, "search: 7 is not a mapping (write a mapping with `root`)"),
        ({}, "search: no `root` (write the tree under `root`; null is a tree of nothing)"),
        (LEAF, "search: a node where its envelope should be (write it under `root`)"),
        ({"roots": None}, "roots: unknown word (write `root`)"),
        (
            {"root": None, "seed": 3},
            "seed: unknown word (the words are root, common, exclude, check_unique, repetitions)",
        ),
        (
            {"root": None, "_target_": "os.system"},
            "search._target_: Hydra would execute this when it reads the search space (let the app's config "
            "hold the _target_ and search over its arguments)",
        ),
        ({"root": None, "repetition": 3}, "repetition: unknown word (write `repetitions`)"),
        ({"root": None, "repetitions": 0}, "repetitions: 0 is not a positive integer (write 1 or more)"),
        (
            {"root": None, "repetitions": True},
            "repetitions: true is not a positive integer (write 1 or more)",
        ),
        ({"root": None, "repetitions": 2.0}, "repetitions: 2.0 is not a positive integer (write 1 or more)"),
        ({"root": None, "check_unique": 1}, "check_unique: 1 is not a boolean (write true or false)"),
        ({"root": None, "common": [1]}, "common: [1] is not a mapping (write a mapping of key to value)"),
        (
            {"root": None, "common": {1: 2}},
            "common: 1 is not a key (a key is a string of at least one character)",
        ),
        ({"root": None, "common": {"a": 1, "++a": 2}}, "common.++a: sets the same as `a`"),
        ({"root": LEAF, "common": {"+a": 1}}, 'root.key: "a" is fixed in `common` (keep one of them)'),
        ({"root": "a"}, 'root: "a" is not a subtree (write a node, or null for a leaf)'),
        (
            {"root": [LEAF, LEAF]},
            "root: [{'default': None, 'key': 'a', 'values': [1]}, {'d … 'values': [1]}] is not a subtree "
            "(write a node, or null for a leaf)",
        ),
        ({"root": [LEAF]}, "root: a list that holds one mapping (write the mapping itself)"),
        ({"root": [10**5000]}, "root: a list is not a subtree (write a node, or null for a leaf)"),
        ({"root": {}}, "root: an empty mapping (write null for a leaf)"),
    ],
)
def test_faults_of_the_envelope(config, fault):
    assert faults(config) == [fault]


@pytest.mark.parametrize(
    ("node", "fault"),
    [
        ({"key": 3}, "root.key: 3 is not a key (a key is a string of at least one character)"),
        ({"key": ""}, 'root.key: "" is not a key (a key is a string of at least one character)'),
        ({"values": "relu"}, 'root.values: "relu" is not a list (write a list, even of one value)'),
        ({"values": {1, 2}}, "root.values: {1, 2} is not a list (write a list, even of one value)"),
        ({"values": []}, "root.values: is empty (list at least one value)"),
        (
            {"values": [1, 2, 1]},
            "root.values: 1 appears here 2 times (write it once, or set `check_unique: false`)",
        ),
        ({"default": 5}, "root(a).default: 5 is not a subtree (write a node, or null for a leaf)"),
        ({"cases": 5}, "root.cases: 5 is not a mapping (write a mapping of value to subtree)"),
        ({2: None}, "root.2: 2 is not in `values` (a case is named as its value is written)"),
        ({"1": None}, 'root.1: "1" is not in `values` (the value is 1, of another type)'),
        ({True: None}, "root.true: true is not in `values` (a case is named as its value is written)"),
        (
            {"values": ["resnet", "vit"], "resnt": LEAF},
            'root.resnt: "resnt" is not in `values` (did you mean resnet?)',
        ),
        (
            {"cases": {"x": LEAF}},
            'root.cases.x: "x" is not in `values` (a case is named as its value is written)',
        ),
        ({1: None, "cases": {1: None}}, "root.cases.1: a second subtree for 1 (write one)"),
        ({"case": {1: None}}, "root.case: unknown word (write `cases`)"),
        (
            {"_target_": "os.system"},
            "root._target_: Hydra would execute this when it reads the search space (let the app's config "
            "hold the _target_ and search over its arguments)",
        ),
    ],
)
def test_faults_of_a_node(node, fault):
    assert root_faults(node) == [fault]


def test_cases_are_not_held_against_values_that_could_not_be_read():
    bad = {"key": "b", "values": []}
    node = {"key": "a", "values": "x", "default": None, "x": bad, "cases": {"y": bad | {"default": 3}}}
    assert [fault.partition(":")[0] for fault in root_faults(node)] == [
        "root.values",
        "root(a).x.values",
        "root(a).cases.y.values",
        "root(a).cases.y(b).default",
    ]


def test_what_belongs_to_no_value_is_read_for_its_faults():
    bad = {"key": "b", "values": []}
    assert [fault.partition(":")[0] for fault in root_faults({1: None, 2: bad, "cases": {1: bad | {}}})] == [
        "root.2",
        "root.cases.1",
        "root(a).2.values",
        "root(a).cases.1.values",
    ]


@pytest.mark.parametrize(("word", "misspelt"), [("key", "keys"), ("values", "value"), ("default", "defualt")])
def test_a_misspelt_word_is_one_fault(word, misspelt):
    node = {(misspelt if name == word else name): content for name, content in LEAF.items()}
    assert faults({"root": node}) == [f"root.{misspelt}: unknown word (write `{word}`)"]


@pytest.mark.parametrize("word", ["key", "values", "default"])
def test_a_missing_word_is_one_fault(word):
    [fault] = faults({"root": {name: content for name, content in LEAF.items() if name != word}})
    assert f"no `{word}`" in fault


def test_a_missing_default_names_the_values_that_need_it():
    node = {"key": "a", "values": [1, 2, 3, 4, 5, 6], 2: None}
    assert faults({"root": node}) == [
        "root: no `default`, and no subtree for 1, 3, 4 and 2 more (add one; `default: null` makes leaves of "
        "them)"
    ]


def test_a_value_may_be_called_all_but_a_word():
    root = {
        "key": "a",
        "values": ["values_", "defaults", "case"],
        "default": None,
        "defaults": LEAF | {"key": "b"},
    }
    assert SearchSpace.from_config({"root": root}).size == 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (object, "is of the type type"),
        ({1, 2}, "is of the type set"),
        (b"x", "is of the type bytes"),
        (Colour.RED, "is of the type Colour"),
        (memoryview(b"x"), "its .tolist() is plain"),
        ("\ud800", "half of a surrogate pair"),
        ({"\udfff": 1}, "half of a surrogate pair"),
        ({1: 2}, "the key 1 is not a string (quote it)"),
        ({10**5000: 2}, "the key about 10^5000 is not a string (quote it)"),
        ({"a": {"_target_": "x"}}, "root.values[0].a._target_: Hydra would execute this"),
        (10**4100, "an integer of more than 4,000 digits"),
    ],
)
def test_what_is_no_value(value, text):
    for config in ({"root": {**LEAF, "values": [value]}}, {"root": None, "common": {"values[0]": value}}):
        [fault] = faults(config)
        assert text in fault.replace("common", "root")


def test_a_value_within_itself_or_too_deep_is_a_fault():
    itself, deep = [], 1
    itself.append(itself)
    for _ in range(51):
        deep = [deep]
    assert root_faults({"values": [itself, deep[0], deep]}) == [
        "root.values[0]: nested deeper than 50 levels, or within itself",
        "root.values[2]: nested deeper than 50 levels, or within itself",
    ]


def test_a_cycle_is_a_fault():
    node = {"key": "a", "values": [1]}
    node["default"] = {"key": "b", "values": [2], "default": None, 2: node}
    assert faults({"root": node}) == ["root(a).default(b).2: leads back to root (a tree has no cycles)"]


def test_a_key_that_is_decided_twice_on_one_path_is_a_fault():
    tail = {"key": "+lr", "values": [1], "default": None}
    between = {"key": "b", "values": [1, 2], "default": None, 2: tail}
    assert faults({"root": {"key": "lr", "values": [1], "default": between}}) == [
        'root(lr).default(b).2.key: "+lr" is decided at root already, which leads here (keep one of them)'
    ]


def test_a_key_that_is_decided_on_two_paths_is_none():
    tails = {1: {**LEAF, "key": "lr"}, 2: {**LEAF, "key": "lr", "values": [5]}}
    assert SearchSpace.from_config({"root": {"key": "b", "values": [1, 2], **tails}}).size == 2


def test_a_shared_subtree_is_reported_once():
    bad = {"key": "b", "values": []}
    wrapped = ({"key": "c", "values": [1], "default": bad},)
    root = {"key": "a", "values": [1, 2, 3], "default": bad, 1: wrapped, 2: wrapped}
    assert [fault.partition(":")[0] for fault in faults({"root": root})] == [
        "root(a).default.values",
        "root(a).1",
    ]


def test_an_unused_default_is_read_but_takes_no_part():
    bad = {"key": "b", "values": []}
    assert faults({"root": {"key": "a", "values": [1], "default": bad, 1: None}}) == [
        "root(a).default.values: is empty (list at least one value)"
    ]
    again = {"root": {"key": "a", "values": [1], "default": LEAF, 1: None}}
    assert SearchSpace.from_config(again).size == 1


def test_faults_deep_down_have_short_paths():
    node = {"key": "k0", "values": [], "default": None}
    for depth in range(1, 3000):
        node = {"key": f"k{depth}", "values": [1], "default": node}
    [fault] = faults({"root": node})
    assert fault == (
        "root(k2999).default(k2998).default(k2997).default(k2996).(2991 more).default(k4).default(k3)"
        ".default(k2).default(k1).default.values: is empty (list at least one value)"
    )


def test_a_path_quotes_what_would_be_misread():
    root = {"key": "a", "values": ["x.y: z"], "x.y: z": {"key": "b", "values": []}}
    assert faults({"root": root}) == ['root(a)."x.y: z".values: is empty (list at least one value)']


anything = st.recursive(
    values | st.binary(max_size=2) | st.sampled_from([object(), Colour.RED, {1}, "\ud800", 10**4100]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(
            st.sampled_from(["root", "key", "values", "default", "cases", "common", "value", "_target_"])
            | texts
            | st.integers()
            | st.none(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(anything)
def test_whatever_stands_there_is_a_space_or_has_faults(config):
    try:
        space = SearchSpace.from_config(config)
    except SearchSpaceError as error:
        str(error).encode()
        return
    assert space.index(space[0]) == 0


@given(configs(), st.data())
def test_a_good_tree_with_anything_in_it_never_breaks_the_reader(config, data):
    place = config
    while data.draw(st.booleans()) and isinstance(place.get("root", place.get("default")), dict):
        place = place.get("root", place.get("default"))
    place[data.draw(st.sampled_from(["root", "key", "values", "default", "cases"]))] = data.draw(anything)
    test_whatever_stands_there_is_a_space_or_has_faults.hypothesis.inner_test(config)
