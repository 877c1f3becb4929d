import math

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dahps_core.errors import MetricError
from dahps_core.metric import read_result


@given(st.floats(allow_nan=False) | st.integers(-(2**53), 2**53) | st.booleans())
def test_a_number_is_its_own_objective(number):
    assert read_result(number, None) == (number, number)


@pytest.mark.parametrize(
    "scalar",
    [numpy.float32(0.5), numpy.array(0.5), torch.tensor(0.5), torch.tensor([0.5]), numpy.array([[0.5]])],
)
def test_a_scalar_of_numpy_or_torch_is_a_number(scalar):
    assert read_result(scalar, None) == (0.5, 0.5)


def test_nan_and_infinities_are_kept():
    assert math.isnan(read_result(float("nan"), None)[1])
    assert read_result(-math.inf, None)[1] == -math.inf


def test_nothing_returned_is_no_metric():
    assert read_result(None, "loss") == (None, None)


def test_a_mapping_is_kept_whole_and_its_objective_named():
    assert read_result({"loss": 1, "accuracy": torch.tensor(0.25)}, "accuracy") == (
        {"loss": 1.0, "accuracy": 0.25},
        0.25,
    )


@pytest.mark.parametrize(
    ("returned", "metric", "words"),
    [
        ("good", None, ["'good'", "str", "number"]),
        ([1.0, 2.0], None, ["list"]),
        (torch.tensor([1.0, 2.0]), None, ["Tensor"]),
        (1j, None, ["complex"]),
        ({"loss": 1.0}, None, ["'loss'", "hydra.sweeper.metric"]),
        ({"loss": 1.0}, "accuracy", ["'accuracy'", "'loss'"]),
        ({}, "accuracy", ["'accuracy'"]),
        ({"loss": "low"}, "loss", ["'loss'", "'low'"]),
    ],
)
def test_anything_else_is_refused_with_what_it_is(returned, metric, words):
    with pytest.raises(MetricError) as refused:
        read_result(returned, metric)
    assert all(word in str(refused.value) for word in words)
