"""`dahps space` reads a file of YAML as Hydra does."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dahps_core.cli import main
from dahps_core.cli.yaml_file import read_yaml
from dahps_core.errors import ConfigurationError


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("größer, and 'quoted'") / "space.yaml"


@given(scalar=st.text("0123456789+-._eE:xo", min_size=1, max_size=10).filter(lambda text: text != "."))
@example("1e-3")
@example("1.5e3")
@example("2024-01-01")
@example("12:30:00")
@example("yes")
@example("no")
@example("~")
@example("-.inf")
@example("1_000")
def test_a_scalar_is_what_it_is_to_hydra(file, scalar):
    file.write_text(f"value: {scalar}\n")
    try:
        expected = OmegaConf.to_container(OmegaConf.load(file))
    except Exception:
        return  # no YAML, or a number that YAML's own rules let through and Python does not
    found = read_yaml(file)
    assert repr(found) == repr(expected) or math.isnan(found["value"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("root:\n\tkey: x\n", ["not valid YAML: line 2, column 1:", "\\t"]),
        ("root:\n  key: x\n  key: y\n", ["line 3, column 3", "'key' appears here 2 times"]),
        ("root:\n  1: null\n  1: null\n", ["line 3, column 3", "'1' appears here 2 times"]),
        ("root: [1, 2\n", ["not valid YAML: line 2"]),
        ("root: \x01\n", ["not valid YAML"]),
    ],
)
def test_what_is_no_yaml_is_told_in_one_line_with_its_place(file, capsys, text, words):
    file.write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        read_yaml(file)
    assert main(["space", str(file)]) == 1
    told = capsys.readouterr().err
    assert told == f"dahps: {raised.value}\n"
    for word in [str(file), *words]:
        assert word in told


def test_a_subtree_that_is_merged_into_two_places_is_read(file):
    file.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: {<<: *a}\n")
    assert read_yaml(file) == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}, "c": {"x": 1, "y": 2}}


def test_line_ends_of_windows_are_read(file):
    file.write_bytes(b"root:\r\n  key: x\r\n  values: [1, 2]\r\n")
    assert read_yaml(file) == {"root": {"key": "x", "values": [1, 2]}}
