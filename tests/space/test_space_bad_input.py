"""Whatever somebody hands over is read soon: as a space that means what it says, or as a list of faults."""

import json
import signal
from collections.abc import Mapping
from contextlib import contextmanager
from enum import Enum

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from dahps_core.errors import FAULTS_SHOWN, OverrideError, SearchSpaceError
from dahps_core.model.combination import Combination, canonical
from dahps_core.space import SearchSpace
from dahps_core.space.overrides import override_faults, shown_overrides, to_overrides
from dahps_core.text.printing import printable

PARSER = OverridesParser.create()
LEAF = {"key": "a", "values": [1], "default": None}


class Colour(str, Enum):
    RED = "red"


class Text(str):
    pass


class Raises:
    """Raises whatever it is asked."""

    def __repr__(self):
        raise RuntimeError("no repr")

    def __getattr__(self, name):
        raise RuntimeError(f"no {name}")


class Integer(int):
    def bit_length(self):
        raise RuntimeError("no bits")


class RaisingMapping(Mapping):
    __hash__ = object.__hash__

    def __init__(self, at):
        self.at = at

    def __getitem__(self, name):
        raise RuntimeError("no item\nat all")

    def __iter__(self):
        if self.at == "iter":
            raise RuntimeError("no item\nat all")
        return iter(["key"])

    def __len__(self):
        if self.at == "len":
            raise RuntimeError("no length")
        return 1

    def __repr__(self):
        raise RuntimeError("no repr")


@contextmanager
def within(seconds):
    """An endless loop is a failure, not a suite that hangs."""

    def too_late(number, frame):
        raise AssertionError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def faults(config):
    with within(20), pytest.raises(SearchSpaceError) as caught:
        SearchSpace.from_config(config)
    assert len(str(caught.value)) < 60_000
    str(caught.value).encode()
    return [str(fault) for fault in caught.value.faults]


def shared_lists(levels):
    """A list of 2**levels elements that takes no memory."""
    found = [0]
    for _ in range(levels):
        found = [found, found]
    return found


def within_itself():
    node = {"key": "a", "values": [1]}
    node["default"] = node
    return node


def named(name):
    """A class that `reprlib` takes for a built-in one, by its name."""
    return type(name, (Raises,), {})()


#: By name, since Hypothesis shows what it draws from, and some of these cannot be shown.
ODD = {
    "huge": 10**400,
    "too huge to keep": 10**4100,
    "too huge to show": 10**5000,
    "integer": Integer(3),
    "complex": 1j,
    "half a pair": "\ud800",
    "long": "n" * 5000,
    "bytes": b"x",
    "raises": Raises(),
    "enum": Colour.RED,
    "text": Text("key"),
    "range": range(3),
    "set": frozenset(),
    "class": object,
    "mapping": RaisingMapping("get"),
}
WORDS = ["root", "common", "check_unique", "repetitions", "key", "values", "default", "cases", "value"]
NAMES = ["a", "b", "+a", "~a", "a b", "a/b@c", "../../x", "\0", "1", "1.0", "true", "null", "[1]", "_target_"]

words = st.sampled_from(WORDS + NAMES)
odd = st.sampled_from(list(ODD)).map(lambda name: ODD[name])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | words | odd
names = words | st.none() | st.booleans() | st.integers(-2, 2) | st.floats() | st.text(max_size=3)
names |= odd | st.just((1, (2,)))
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(names, inner, max_size=4)
        | st.fixed_dictionaries(
            {"key": words, "values": st.lists(inner, min_size=1, max_size=3), "default": inner},
            optional={"cases": st.dictionaries(names, inner, max_size=3)},
        )
    ),
    max_leaves=25,
)
envelopes = anything | st.fixed_dictionaries(
    {"root": anything},
    optional={
        "common": st.dictionaries(words, anything, max_size=2),
        "check_unique": st.booleans(),
        "repetitions": st.integers(1, 3) | odd,
    },
)


@settings(max_examples=300)
@given(envelopes, st.integers(0, 2**64))
def test_anything_is_a_space_that_means_what_it_says_or_has_faults(config, position):
    assert_space_or_faults(config, position)


@pytest.mark.parametrize(
    "config",
    [
        {"root": LEAF | {"key": Colour.RED}},
        {"root": LEAF | {"values": [{Text("a"): 1}]}},
        {"root": LEAF | {"values": [Raises(), Integer(3)]}},
        {"root": LEAF | {"values": [named("list"), named("dict"), named("str"), named("array")]}},
        {"root": LEAF | {10**5000: None}},
        {"root": LEAF | {"[" * 100_000: None, "1" * 5000: None}},
        {"root": None, "repetitions": 10**5000},
        {"root": None, "repetitions": 2**63},
        RaisingMapping("iter"),
        {"root": RaisingMapping("len"), "common": RaisingMapping("get")},
        {"root": LEAF | {"values": [RaisingMapping("get")], "cases": RaisingMapping("iter")}},
        {"root": within_itself()},
        {"root": LEAF | {"case": RaisingMapping("get")}},
        {"root": LEAF | {"key": "a b", "values": ["\0", {"'": 1}, 10**400, -0.0]}},
    ],
    ids=range(14),
)
def test_what_was_found_to_break_the_reader_does_so_no_more(config):
    with within(20):
        assert_space_or_faults(config, 0)


def assert_space_or_faults(config, position):
    try:
        space = SearchSpace.from_config(config)
    except SearchSpaceError as error:
        str(error).encode()
        return
    again = SearchSpace.from_definition(json.loads(json.dumps(space.definition())))
    assert again.definition() == space.definition() or again.digest() == space.digest()  # with a NaN in it
    position %= space.size
    combination = space[position]
    assert space.index(combination) == position
    assert Combination.from_json(combination.to_json()) == combination == again[position]
    assert_hydra_reads(space, combination)


def assert_hydra_reads(space, combination):
    try:
        overrides = to_overrides(combination)
    except OverrideError:
        assert override_faults(space)
        assert json.loads(shown_overrides(combination)).keys() == combination.keys()
        return
    for text, (key, value) in zip(overrides, combination.items(), strict=True):
        override = PARSER.parse_override(text)
        assert override.get_key_element() == key
        assert canonical(override.value()) == canonical(value)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"root": LEAF | {"key": Colour.RED}}, "root.key"),
        ({"root": None, "common": {Text("a"): 1}}, "common"),
        ({"root": LEAF | {"values": [{Colour.RED: 1}]}}, "root.values[0]"),
        ({"root": RaisingMapping("get")}, "root: cannot be read (RuntimeError: no item at all)"),
        ({"root": LEAF | {"cases": RaisingMapping("iter")}}, "root.cases: cannot be read"),
        ({"root": LEAF | {"values": [Raises()]}}, "is of the type Raises"),
        ({"root": LEAF | {"values": [named("list")]}}, "a list is of the type list"),
        ({"root": None, "repetitions": 10**400}, "repetitions: a combination would be evaluated"),
    ],
)
def test_what_its_own_class_makes_unreadable_is_one_fault_at_its_place(config, told):
    [fault] = faults(config)
    assert fault.startswith(told) or told in fault


def test_a_value_of_shared_lists_is_not_multiplied_out():
    assert faults({"root": LEAF | {"values": [shared_lists(45)]}}) == [
        "root.values[0]: a value of more than 100,000 parts (write it to a file, and name that)"
    ]
    assert SearchSpace.from_config({"root": LEAF | {"values": [shared_lists(14)]}}).size == 1


def test_many_misspelt_cases_of_many_values_are_told_soon():
    values = [f"value-{number}" for number in range(20_000)]
    cases = {f"valve-{number}": None for number in range(20_000)}
    assert len(faults({"root": LEAF | {"values": values, "cases": cases}})) == 20_000
    quoted = {str(number): None for number in range(20_000)}
    [first, *_] = faults({"root": LEAF | {"values": list(range(20_000)), "cases": quoted}})
    assert first == 'root.cases.0: "0" is not in `values` (the value is 0, of another type)'


def test_many_repeats_on_one_path_are_told_soon():
    node = None
    for level in range(6000):
        node = {"key": f"k{level % 3000}", "values": [1, 2], "default": node}
    found = faults({"root": node})
    assert 1 < len(found) <= 100
    assert "k2999" in found[0]


def test_a_message_lists_the_first_faults_and_counts_the_others():
    with pytest.raises(SearchSpaceError, match=r"has 100,000 faults") as caught:
        SearchSpace.from_config({"root": LEAF | {"values": [object()] * 100_000}})
    assert len(caught.value.faults) == 100_000
    assert str(caught.value).count("is of the type object") == FAULTS_SHOWN
    assert f"and {100_000 - FAULTS_SHOWN} more" in str(caught.value)


def test_a_name_of_a_million_characters_is_shortened_in_a_message():
    name = "n" * 1_000_000
    for config in (
        {"root": LEAF | {name: None}},
        {"root": None, name: 1},
        {"root": LEAF, "common": {name: b""}},
    ):
        [fault] = faults(config)
        assert len(fault) < 300


@pytest.mark.parametrize(
    ("levels", "repetitions", "has_fault"), [(13_000, 1, False), (13_400, 1, True), (13_000, 10**150, True)]
)
def test_a_search_has_at_most_as_many_trials_as_python_can_write_down(levels, repetitions, has_fault):
    node = None
    for level in range(levels):
        node = {"key": f"k{level}", "values": [0, 1], "default": node}
    config = {"root": node, "repetitions": repetitions}
    if has_fault:
        assert "root: more than 10^4000 trials (search a part of them)" in faults(config)
    else:
        assert str(SearchSpace.from_config(config).n_trials)


@pytest.mark.parametrize(
    ("levels", "repetitions", "has_fault"), [(62, 2, False), (62, 3, True), (64, 1, True)]
)
def test_the_evaluations_of_equal_combinations_are_numbered_in_64_bits(levels, repetitions, has_fault):
    node = {"key": "other", "values": [1, 2, 3], "default": None}
    for level in range(levels):
        node = {"key": f"k{level}", "values": [7, 7], "default": node}
    config = {"root": node, "repetitions": repetitions, "check_unique": False}
    if has_fault:
        assert "repetitions: a combination would be evaluated more than 2^63 times (write less)" in faults(
            config
        )
    else:
        space = SearchSpace.from_config(config)
        assert max((space[i].occurrence + 1) * repetitions - 1 for i in (0, -1)) == 2**63 - 1


@given(st.text(st.sampled_from("\\'\"ab"), max_size=12))
def test_backslashes_and_quotes_come_back(text):
    [override] = to_overrides({"key": text})
    assert PARSER.parse_override(override).value() == text


@pytest.mark.parametrize("end", ["", "'", "x", "'\""])
def test_a_long_run_of_backslashes_is_written_soon(end):
    text = "\\" * 500_000 + end
    with within(20):
        [override] = to_overrides({"key": text})
    assert override.count("\\") >= 500_000


def test_what_is_shown_of_a_combination_does_nothing_to_a_terminal():
    shown = shown_overrides({"x": "\x1b]0;title\a\r\n\u202e", "y": "größer 🙂"})
    assert shown.isprintable()
    assert "größer 🙂" in shown
    assert shown_overrides({"a b": "\x1b"}) == '{"a b": "\\u001b"}'
    assert printable("a\0b\nc") == "a\\x00b\\nc"
