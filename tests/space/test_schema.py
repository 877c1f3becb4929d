"""The JSON Schema of trees and the reader agree on good trees, and on what is wrong with a single node."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dahps_core.cli import main
from dahps_core.errors import SearchSpaceError
from dahps_core.space import SearchSpace
from dahps_core.space.schema import json_schema
from tests.space.trees_of_words import nodes

VALIDATOR = Draft202012Validator(json_schema())

#: What makes a fault of any node.
SLIPS = {
    "no key": lambda node: node.pop("key"),
    "an empty key": lambda node: node.update(key=""),
    "no values": lambda node: (node.pop("values", None), node.pop("interval", None)),
    "empty values": lambda node: (node.pop("interval", None), node.update(values=[])),
    "values that are no list": lambda node: (node.pop("interval", None), node.update(values=3)),
    "both": lambda node: node.update(values=[1], interval=[1, 2]),
    "three bounds": lambda node: node.update(interval=[1, 2, 3]),
    "a bound that is text": lambda node: node.update(interval=[1, "2"]),
    "a negative step": lambda node: node.update(interval=[1, 9], step=-1),
    "one point": lambda node: node.update(interval=[1, 9], points=1),
    "step and points": lambda node: node.update(interval=[1, 9], points=3, step=1),
    "log that is a number": lambda node: node.update(interval=[1, 9], log=1),
    "log without an interval": lambda node: (node.pop("interval", None), node.update(values=[1], log=True)),
    "a default that is a list": lambda node: node.update(default=[]),
    "a default that is text": lambda node: node.update(default="leaf"),
    "a then that is a number": lambda node: node.update(then=3),
    "weights that are text": lambda node: node.update(weights="often"),
    "a negative weight": lambda node: node.update(weights=[-1] * len(node.get("values", [1]))),
    "cases that are a list": lambda node: node.update(cases=[]),
}
ENVELOPES = [
    {},
    {"rot": None},
    {"root": 3},
    {"root": None, "repetitions": 0},
    {"root": None, "check_unique": 1},
    {"root": None, "common": [1]},
    {"root": None, "exclude": {"x": 1}},
    {"root": None, "exclude": [{}]},
    {"root": None, "seed": 1},
]


def is_read(config):
    try:
        SearchSpace.from_config(config)
    except SearchSpaceError:
        return False
    return True


def with_text_names(node):
    """The same tree as JSON has it: names of cases are text."""
    return json.loads(json.dumps(node))


@given(nodes())
def test_the_schema_takes_what_the_reader_takes(root):
    assert is_read({"root": root})
    assert VALIDATOR.is_valid(with_text_names({"root": root}))


@pytest.mark.parametrize("slip", SLIPS.values(), ids=SLIPS)
@given(root=nodes().filter(bool), data=st.data())
def test_both_refuse_a_slip_in_any_node(slip, root, data):
    config = {"root": copy.deepcopy(root)}
    found, waiting = [], [config["root"]]
    while waiting:
        node = waiting.pop()
        found.append(node)
        below = [node["default"], node.get("then"), *node.get("cases", {}).values()]
        waiting += [one for one in below if one]
    slip(data.draw(st.sampled_from(found)))
    assert not is_read(config)
    assert not VALIDATOR.is_valid(with_text_names(config))


@pytest.mark.parametrize("config", ENVELOPES)
def test_both_refuse_a_slip_beside_the_root(config):
    assert not is_read(config)
    assert not VALIDATOR.is_valid(config)


def test_the_command_prints_it(capsys):
    assert main(["space", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()
    assert main(["space"]) == 2
