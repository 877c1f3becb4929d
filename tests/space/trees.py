"""Random search spaces, and what they mean, worked out the slow way."""

import math

from hypothesis import strategies as st

from dahps_core.model.combination import Combination, canonical

#: JSON's values without surrogates and with keys that are never reserved.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(texts.filter(lambda t: t != "_target_"), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def nodes(draw, depth=0, unique=True):
    """A node as a config writes it; keys carry their depth, so that none repeats on a path."""
    deeper = st.none() if depth == 3 else st.none() | nodes(depth=depth + 1, unique=unique)
    some = draw(st.lists(values, min_size=1, max_size=3, unique_by=canonical))
    if not unique:
        some += draw(st.lists(st.sampled_from(some), max_size=2))
    node = {"key": f"{draw(st.sampled_from('abc'))}{depth}", "values": some, "default": draw(deeper)}
    own = draw(st.lists(st.sampled_from(some), max_size=2, unique_by=canonical))
    cases = {_name(value): draw(deeper) for value in own if _is_named_alone(value, some)}
    if cases:
        node["cases"] = cases
    return node


@st.composite
def configs(draw, unique=True):
    """A whole search space; `unique=False` lets values repeat."""
    common = draw(st.dictionaries(st.sampled_from(["x", "+y", "z.w"]), values, max_size=2))
    return {
        "root": draw(st.none() | nodes(unique=unique)),
        "common": common,
        "check_unique": unique,
        "repetitions": draw(st.integers(1, 3)),
    }


def naive(config):
    """All combinations of a config in grid order, by plain recursion."""
    common = list(config.get("common", {}).items())
    return [Combination(common + path) for path in _paths(config["root"])]


def _paths(node):
    if node is None:
        return [[]]
    cases = {_key_of(name): subtree for name, subtree in node.get("cases", {}).items()}
    return [
        [(node["key"], value), *rest]
        for value in node["values"]
        for rest in _paths(cases.get(_key_of(_name(value)), node["default"]))
    ]


def _key_of(name):
    return canonical(name)


def _name(value):
    return canonical(value) if value is None or isinstance(value, (list, dict)) else value


def _is_named_alone(value, some):
    """Whether a name in a Python dict can mean this value and no other (1, 1.0 and True are one key)."""
    names = [_name(one) for one in some if canonical(one) != canonical(value)]
    return _name(value) not in names and not (isinstance(value, float) and math.isnan(value))
