"""What a combination says is what Hydra's own parser and a composed config say."""

import warnings

import hydra
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dahps_core.errors import OverrideError
from dahps_core.model.combination import canonical
from dahps_core.space import SearchSpace
from dahps_core.space.overrides import override_faults, to_overrides
from tests.space.trees import scalars, texts

PARSER = OverridesParser.create()

#: Whatever means something to a shell, YAML, Hydra's grammar or OmegaConf.
hostile = st.text(st.sampled_from("\\'\"${},:=[]()~@+*|?%#!&;<>/-_.eE0179 \t\n\r\0aé😀"), max_size=10)
looks_like_something_else = st.sampled_from(
    ["", "1", "1_0", "-1", "1e-3", ".5", "5.", "null", "NULL", "true", "False", "nan", "-nan", "inf", "+Inf"]
)
has_a_meaning = st.sampled_from(
    ["${x}", "${oc.env:HOME}", "a${x}b", "???", "f(x)", "choice(a,b)", "[1]", "{a: 1}", "a,b", "a=b", "~"]
)
strings = texts | hostile | looks_like_something_else | has_a_meaning
mapping_keys = st.text(st.sampled_from("abAZ09_/-\\+.$%*@?|()[]{}:=, \t"), min_size=1, max_size=8)
values = st.recursive(
    scalars | strings,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(mapping_keys, inner, max_size=3),
    max_leaves=10,
)

steps = st.from_regex(r"[A-Za-z_$][A-Za-z0-9_$-]{0,4}", fullmatch=True)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,4}", fullmatch=True)
packages = st.lists(steps | st.integers(0, 20).map(str), min_size=2, max_size=4).map(".".join) | steps
groups = st.lists(names, min_size=1, max_size=3).map("/".join)
keys = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "+", "++", "~"]),
    packages | groups,
    st.just("") | packages.map("@{}".format),
)


def parsed(combination):
    return [PARSER.parse_override(text) for text in to_overrides(combination)]


def exact(value):
    """A text that differs where values or their types do; a NaN is a NaN."""
    return canonical(value)


@given(values)
def test_a_value_comes_back_from_the_parser_exactly(value):
    try:
        [override] = parsed({"key": value})
    except OverrideError:
        assume(False)  # for a mapping's key, which has a test of its own
    assert not override.is_sweep_override()
    assert exact(override.value()) == exact(value)


@given(strings)
def test_every_string_can_be_written(text):
    [override] = parsed({"key": [text, {"in": text}]})
    assert override.value() == [text, {"in": text}]


@given(st.integers() | st.integers(-(10**300), 10**300) | st.floats())
def test_every_number_can_be_written_without_loss(number):
    [override] = parsed({"key": number})
    assert type(override.value()) is type(number)
    assert repr(override.value()) == repr(number)


@given(keys, values.filter(lambda value: value is not None))
def test_a_key_comes_back_from_the_parser_exactly(key, value):
    try:
        [override] = parsed({key: value})
    except OverrideError:
        assume(False)
    assert override.get_key_element() == key


@given(st.text(max_size=8) | hostile)
def test_any_text_is_a_key_that_the_parser_takes_or_an_error(key):
    try:
        [override] = parsed({key: 1})
    except OverrideError:
        return
    assert override.get_key_element() == key


@given(mapping_keys | strings)
@example("007")
@example("null_")
@example("a b\tc")
def test_any_text_is_a_mapping_key_that_comes_back_or_an_error(key):
    try:
        [override] = parsed({"key": {key: 1}})
    except OverrideError:
        return
    assert override.value() == {key: 1}


@pytest.mark.parametrize(
    "key", ["lr", "a-b", "a.b/c", "a b", " a ", "x=1", "a:b", "${x}", "C:\\dir", "1st", "+a"]
)
def test_a_sensible_mapping_key_can_be_written(key):
    [override] = parsed({"key": {key: 1}})
    assert override.value() == {key: 1}


@pytest.mark.parametrize("key", ["", "1", "1.5", "1e3", "true", "Null", "nan", "-inf", "é", "'", "a\n"])
def test_a_mapping_key_that_would_come_back_changed_is_an_error(key):
    with pytest.raises(OverrideError, match="rename it"):
        to_overrides({"key": {key: 1}})


@pytest.mark.parametrize(
    "key", ["", "a b", "a=", "a..b", "1a", "a[0]", "a/b.c", "a@", "a@b@c", "+~a", "+++a", "é", "a\n"]
)
def test_a_malformed_key_is_an_error(key):
    with pytest.raises(OverrideError, match="not a key that Hydra can set"):
        to_overrides({key: 1})


def test_a_deletion_has_no_value():
    assert to_overrides({"~a/b@c": None, "~d": 1}) == ["~a/b@c", "~d=1"]
    [override, with_value] = parsed({"~a/b@c": None, "~d": 1})
    assert override.type is OverrideType.DEL
    assert override.value() is None
    assert with_value.value() == 1


def test_plain_words_stay_readable():
    combination = {
        "model": "resnet-18",
        "data": "a/b.yaml",
        "lr": 1e-05,
        "x": [True, None, "a b"],
        "m": {"k": "v"},
    }
    assert to_overrides(combination) == [
        "model=resnet-18",
        "data=a/b.yaml",
        "lr=1e-05",
        "x=[true,null,'a b']",
        "m={k:v}",
    ]


def test_a_space_is_checked_as_a_whole():
    root = {
        "key": "a b",
        "values": [1, 2],
        "default": {"key": "c", "values": [{"1": 0}, {"x": 0}], "default": None},
    }
    faults = override_faults(SearchSpace.from_config({"root": root, "common": {"d.": 1}}))
    assert [(fault.path, fault.what) for fault in faults] == [
        ('common."d."', '"d." is not a key that Hydra can set'),
        ("root", '"a b" is not a key that Hydra can set'),
        ('root("a b").1', 'Hydra\'s overrides cannot carry the key "1" of a mapping'),
    ]
    assert all(fault.hint for fault in faults)


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    """A small app's config, composed by Hydra itself."""
    folder = tmp_path_factory.mktemp("conf dir é")
    (folder / "config.yaml").write_text("defaults: [model: resnet, _self_]\nx: 1\nlr: 0.1\n")
    (folder / "model").mkdir()
    (folder / "model" / "resnet.yaml").write_text("width: 1\n")
    (folder / "model" / "vit.yaml").write_text("width: 2\nheads: 3\n")
    version = {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Hydra scans every plugin that is installed
        with initialize_config_dir(str(folder), **version):
            compose("config")
            yield


def composed(combination):
    return OmegaConf.to_container(compose("config", overrides=to_overrides(combination)), resolve=False)


@settings(max_examples=40)
@given(values)
@example("${x}")
@example(["${oc.env:HOME}", {"a": "???"}])
def test_a_value_comes_back_from_a_composed_config_exactly(conf, value):
    # OmegaConf refuses an interpolation that it cannot parse, on the command line as here.
    assume("${" not in canonical(value) or value in ("${x}", ["${oc.env:HOME}", {"a": "???"}]))
    try:
        config = composed({"+new": value, "++deeper.still": value, "lr": value})
    except OverrideError:
        assume(False)
    assert exact(config["new"]) == exact(config["deeper"]["still"]) == exact(config["lr"]) == exact(value)


def test_groups_additions_and_deletions_compose(conf):
    config = composed(
        {"model": "vit", "model.width": 5, "+new.key": [1], "~x": None, "+model@other": "resnet"}
    )
    assert config == {
        "model": {"width": 5, "heads": 3},
        "lr": 0.1,
        "new": {"key": [1]},
        "other": {"width": 1},
    }
