"""What a changed space says about the change."""

import copy

import pytest
from hypothesis import given

from dahps_core.space import SearchSpace
from tests.space import seeds_tree
from tests.space.trees import configs

LR = {"key": "lr", "values": [0.1, 0.01], "default": None}
MODEL = {"key": "model", "values": ["vit", "resnet"], "default": LR}


def differences(old, new):
    return SearchSpace.from_config(old).differences(SearchSpace.from_config(new))


@pytest.mark.parametrize(
    ("root", "lines"),
    [
        ({**MODEL, "values": ["vit", "resnet", "mlp"]}, ['root (model): values added: "mlp"']),
        ({**MODEL, "values": ["vit"]}, ['root (model): values removed: "resnet"']),
        ({**MODEL, "values": ["resnet", "vit"]}, ["root (model): values in another order"]),
        (
            {**MODEL, "default": {**LR, "values": [0.1, 1, True]}},
            ["root(model).vit (lr): values added: 1, true", "root(model).vit (lr): values removed: 0.01"],
        ),
        ({**MODEL, "default": None}, ['root(model).vit: level "lr" removed']),
        ({**MODEL, "vit": None}, ['root(model).vit: level "lr" removed']),
        (
            {**MODEL, "default": {**LR, "default": {**LR, "key": "b"}}},
            ['root(model).vit(lr).0.1: level "b" added'],
        ),
        ({"key": "seed", "values": [1, 2], "default": MODEL}, ['root: level "seed" added']),
        (LR, ['root: level "model" removed']),
        ({**MODEL, "key": "net"}, ['root: level "model" became "net"']),
        (None, ['root: level "model" removed']),
    ],
)
def test_each_change_of_the_tree_is_a_line(root, lines):
    assert differences({"root": MODEL}, {"root": root}) == lines


def test_an_inserted_level_does_not_hide_what_changed_below():
    between = {"key": "seed", "values": [1], "default": {**MODEL, "values": ["vit"]}}
    assert differences({"root": MODEL}, {"root": between}) == [
        'root: level "seed" added',
        'root(seed).1 (model): values removed: "resnet"',
    ]


def test_changes_of_the_envelope_are_lines():
    old = {"root": MODEL, "common": {"a": 1, "b": 2, "c": 3}}
    new = {"root": MODEL, "common": {"a": 1.0, "c": 3, "d": "x"}, "repetitions": 2}
    assert differences(old, new) == [
        "common.a: 1 became 1.0",
        "common.b: removed, it was 2",
        'common.d: added, "x"',
        "repetitions: 1 became 2",
    ]


def test_a_change_in_a_shared_subtree_is_one_line():
    changed = copy.deepcopy(seeds_tree.corrected())
    changed["root"]["fourier"]["default"]["default"]["default"]["deit"]["values"].append("silu")
    old, new = seeds_tree.corrected(), changed
    place = (
        "root(experiment_type).shearlet(n_shearlets).1(normalize).true(magphase).true(symlog).true(model_type)"
        ".deit (activation)"
    )
    assert differences(old, new) == [f'{place}: values added: "silu"']


@given(configs(), configs())
def test_spaces_differ_if_and_only_if_their_definitions_do(old, new):
    old, new = SearchSpace.from_config(old), SearchSpace.from_config(new)
    assert bool(old.differences(new)) == (old.digest() != new.digest())
    assert len(old.differences(new)) == len(set(old.differences(new)))
