import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

import numpy
import pandas
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dahps_core.errors import MetricError
from dahps_core.trial.metric import read_anything, read_result


@given(st.floats(allow_nan=False) | st.integers(-(2**53), 2**53) | st.booleans())
def test_a_number_is_its_own_objective(number):
    assert read_result(number, None) == (number, number)


@pytest.mark.parametrize(
    "scalar",
    [
        *(numpy.float32(0.5), numpy.array(0.5), torch.tensor(0.5), torch.tensor([0.5]), numpy.array([[0.5]])),
        numpy.ma.array(0.5, mask=False),
        torch.tensor([0.0, 0.5])[1:].to_sparse(),
    ],
)
def test_a_scalar_of_numpy_or_torch_is_a_number(scalar):
    assert read_result(scalar, None) == (0.5, 0.5)


def test_nan_and_infinities_are_kept():
    assert math.isnan(read_result(float("nan"), None)[1])
    assert read_result(-math.inf, None)[1] == -math.inf


@pytest.mark.parametrize("metric", [None, "loss"])
def test_nothing_returned_is_refused_with_what_to_write(metric):
    with pytest.raises(MetricError, match=r"None.*`return accuracy`.*finish_combination\(accuracy\)"):
        read_result(None, metric)


def test_where_nothing_need_rank_nothing_may_be_returned():
    assert read_anything(None, "loss") == (None, None)


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


class Raises:
    """A class of the user's own; `error` is what its methods raise, but for those that are to work."""

    def __init__(self, error, item=None):
        self.error = error
        self._item = item

    def __repr__(self):
        raise self.error

    def item(self):
        if self._item is None:
            raise self.error
        return self._item


class RaisingMapping(Mapping):
    def __getitem__(self, name):
        raise KeyError(name)

    def __iter__(self):
        return iter(["loss"])

    def __len__(self):
        return 1


class CrookedItems(dict):
    def items(self):
        return [1, 2]


class FloatRaises(float):
    def __float__(self):
        raise ZeroDivisionError("no float")


class FloatIsText(float):
    def __float__(self):
        return "1.0"


class NameRaises:
    def __str__(self):
        raise RuntimeError("no name")


class Unprintable(Exception):  # noqa: N818 - what a library may well call it
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (10**400, ["int", "OverflowError"]),
        (-(10**5000), ["int", "OverflowError"]),
        (Fraction(10**400, 3), ["Fraction", "OverflowError"]),
        (numpy.longdouble("1e4000"), ["longdouble", "too large for a float"]),
        (numpy.array(10**400, dtype=object), ["ndarray", "OverflowError"]),
        (FloatRaises(1), ["FloatRaises", "ZeroDivisionError: no float"]),
        (FloatIsText(1), ["FloatIsText", "TypeError"]),
        (Raises(KeyError("no item")), ["Raises", "KeyError: 'no item'"]),
        (Raises(Unprintable()), ["Raises", "Unprintable"]),
        (Raises(ValueError("no item")), ["cannot be shown (ValueError: no item)", "Raises"]),
        (Raises(RuntimeError("CUDA error: assert")), ["CUDA error: assert", "Raises"]),
        (Raises(TypeError("no repr"), item="0.5"), ["'0.5'", "str"]),
        (Raises(KeyError("x" * 10**6)), ["KeyError"]),
        (Decimal("0.5"), ["Decimal", "not a number"]),
        (numpy.datetime64("2020-01-01"), ["date", "not a number"]),
        (numpy.datetime64(5, "ns"), ["datetime64", "not a number"]),
        (numpy.array(5, "M8[ns]"), ["ndarray", "not a number"]),
        (numpy.timedelta64(5, "ns"), ["timedelta64", "not a number"]),
        (numpy.array([5], "m8[ns]"), ["ndarray", "not a number"]),
        (pandas.Series([pandas.Timedelta(5)]), ["Series", "not a number"]),
        (numpy.ma.masked, ["masked", "missing"]),
        (numpy.ma.array(1.5, mask=True), ["masked", "missing"]),
        (numpy.ma.array([1.5], mask=[True]), ["masked", "missing"]),
        (pandas.NA, ["NAType", "not a number"]),
        (numpy.array("0.5"), ["'0.5'", "str"]),
        (numpy.array([]), ["ndarray", "not a number"]),
        (torch.empty((), device="meta"), ["Tensor", "not a number"]),
        (torch.tensor(1j), ["complex", "not a number"]),
        (float, ["type", "not a number"]),
        ("n" * 10**6, ["str", "not a number"]),
        (b"0.5", ["bytes"]),
        (object(), ["object"]),
    ],
    ids=range(32),
)
def test_what_cannot_be_read_is_refused_with_the_reason_alone_and_in_a_mapping(returned, words):
    for wrapped in (returned, {"loss": returned}, {"other": returned, "loss": 1.0}):
        with pytest.raises(MetricError) as refused:
            read_result(wrapped, "loss")
        assert all(word in str(refused.value) for word in words), str(refused.value)
        assert len(str(refused.value)) < 600
        assert ("the metric 'loss'" in str(refused.value)) == (
            wrapped is not returned and "other" not in wrapped
        )


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (RaisingMapping(), ["RaisingMapping", "KeyError"]),
        (CrookedItems(loss=1), ["CrookedItems", "TypeError"]),
        ({NameRaises(): 1}, ["name", "NameRaises", "RuntimeError: no name"]),
        ({10**5000: 1}, ["name", "int", "ValueError"]),
        ({1: 1.0, "1": 2.0}, ["'1'", "Name them apart"]),
        ({"loss": {"deeper": 1.0}}, ["'loss'", "dict"]),
        ({"loss": None}, ["'loss'", "None"]),
        ({"n" * 10**6: 1.0}, ["'nnn", "no 'loss'"]),
        ({str(name): 1.0 for name in range(100_000)}, ["'0', '1'", "and 99990 more", "no 'loss'"]),
    ],
    ids=range(9),
)
def test_a_mapping_that_cannot_be_read_is_refused(returned, words):
    with pytest.raises(MetricError) as refused:
        read_result(returned, "loss")
    assert all(word in str(refused.value) for word in words), str(refused.value)
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    ("returned", "number"),
    [
        (Fraction(1, 4), 0.25),
        (2**1023, float(2**1023)),
        (numpy.longdouble("0.25"), 0.25),
        (numpy.longdouble("inf"), math.inf),
        (numpy.float16(0.25), 0.25),
        (numpy.bool_(True), 1.0),
        (numpy.int64(-7), -7.0),
        (torch.tensor(0.25, dtype=torch.bfloat16), 0.25),
        (torch.tensor(0.25, requires_grad=True), 0.25),
        (torch.tensor(True), 1.0),
        (torch.tensor(-math.inf), -math.inf),
        (Raises(KeyError("no repr"), item=0.25), 0.25),
    ],
    ids=range(12),
)
def test_whatever_is_a_number_is_kept_as_a_plain_float(returned, number):
    result, objective = read_result({"loss": returned}, "loss")
    assert type(objective) is float
    assert (result, objective) == ({"loss": number}, number)


def test_names_are_kept_as_plain_strings():
    class Name(str):
        def __hash__(self):
            return super().__hash__()

        def __eq__(self, other):
            return super().__eq__(other)

    result, _ = read_result(
        {Name("loss"): 1, "'); DROP TABLE trial; --": 2, "../../x\0": 3, "\ud800": 4}, "loss"
    )
    assert list(result) == ["loss", "'); DROP TABLE trial; --", "../../x\0", "\ud800"]
    assert {type(name) for name in result} == {str}


@pytest.mark.parametrize(
    ("returned", "kept"),
    [
        ("text", "text"),
        ({"loss": 1, "name": ("a", None)}, {"loss": 1, "name": ["a", None]}),
        ({"loss": 1}, {"loss": 1}),
        ([1, "two"], [1, "two"]),
        ({1, 2}, None),
        (object(), None),
        ({1: 2}, None),
        (torch.zeros(2), None),
    ],
)
def test_where_nothing_need_rank_what_is_no_metric_is_kept_if_json_can_hold_it(returned, kept):
    assert read_anything(returned, None) == (kept, None)


def test_where_nothing_need_rank_a_metric_is_one():
    assert read_anything(numpy.float32(0.5), None) == (0.5, 0.5)
    assert read_anything({"loss": 1, "accuracy": 2}, "loss") == ({"loss": 1.0, "accuracy": 2.0}, 1.0)
