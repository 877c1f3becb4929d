"""Intervals: values with few digits, exact positions, the same on every machine."""

import json
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dahps_core.space.interval import Interval, bounds_fault, equally_spaced, step_fault

NUMBERS = st.one_of(
    st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6, allow_nan=False).map(lambda number: float(f"{number:.4g}")),
    st.floats(1e-300, 1e300).map(lambda number: float(f"{number:.6g}")),
)


@st.composite
def intervals(draw):
    low, high = sorted((draw(NUMBERS), draw(NUMBERS)))
    log = draw(st.booleans()) and low > 0
    assume(bounds_fault(low, high, log=log) is None)
    step = None
    if not log and draw(st.booleans()):
        step = draw(st.sampled_from([1, 2, 7, 0.1, 0.25, 0.3]))
        assume(step_fault(low, high, step) is None)
    return Interval(low, high, log, step)


@given(intervals(), st.data())
def test_positions_and_values_are_each_other_s_inverse(interval, data):
    position = data.draw(st.integers(0, len(interval) - 1))
    value = interval[position]
    assert interval.position(value) == position
    assert interval.contains(value)
    assert interval.position(json.loads(json.dumps(value))) == position
    assert type(value) is (int if interval.is_integer else float)


@given(intervals(), st.data())
def test_values_ascend_from_the_lower_bound(interval, data):
    position = data.draw(st.integers(0, len(interval) - 1))
    assert interval[0] == interval.low
    assert interval[-1] <= interval.high
    if interval.step is None:
        assert interval[-1] == interval.high
    if position:
        assert interval[position - 1] < interval[position]


@given(intervals(), st.data())
def test_a_part_has_the_values_between_its_bounds(interval, data):
    low, high = sorted(data.draw(st.lists(st.floats(interval.low, interval.high), min_size=2, max_size=2)))
    part = interval.between(low, high)
    for position in {part.start, part.stop - 1} & set(range(len(interval))):
        if part:
            assert low <= interval[position] <= high
    if part.start > 0:
        assert interval[part.start - 1] < low
    if part.stop < len(interval):
        assert interval[part.stop] > high


@given(intervals(), st.fractions(0, 1))
def test_nearest_is_among_the_values_and_keeps_the_order(interval, share):
    assert 0 <= interval.nearest(share) < len(interval)
    assert interval.nearest(Fraction(0)) == 0
    assert interval.nearest(Fraction(1)) == len(interval) - 1
    assert interval.nearest(share / 2) <= interval.nearest(share)


@pytest.mark.parametrize(
    ("interval", "size", "some"),
    [
        (Interval(0.0, 1.0), 1001, {0: 0.0, 1: 0.001, 500: 0.5, 1000: 1.0}),
        (Interval(1e-5, 0.1), 1001, {0: 1e-5, 1: 0.0001, 1000: 0.1}),
        (Interval(1e-5, 0.1, log=True), 3601, {0: 1e-5, 1: 1.01e-5, 900: 0.0001, 3600: 0.1}),
        (Interval(1, 9), 9, {0: 1, 8: 9}),
        (Interval(1, 4096, log=True), 4096, {0: 1, 4095: 4096}),
        (Interval(1, 10**6, log=True), 999 + 2700 + 1, {0: 1, 998: 999, 999: 1000, 1000: 1010, 3699: 10**6}),
        (Interval(3, 200_000), 201, {0: 3, 1: 1000, 200: 200_000}),
        (Interval(16, 64, step=8), 7, {0: 16, 1: 24, 6: 64}),
        (Interval(0.0, 0.5, step=0.1), 6, {1: 0.1, 3: 0.3, 5: 0.5}),
        (Interval(0, 1.5), 151, {0: 0.0, 1: 0.01, 150: 1.5}),
    ],
)
def test_the_listed_values(interval, size, some):
    assert len(interval) == size
    assert {position: interval[position] for position in some} == some


def test_draws_from_a_logarithmic_interval_are_uniform_in_the_logarithm():
    interval = Interval(1e-4, 1.0, log=True)
    drawn = [interval[interval.nearest(Fraction(index, 1000))] for index in range(1000)]
    assert [sum(value < bound for value in drawn) for bound in (1e-3, 1e-2, 1e-1)] == pytest.approx(
        [250, 500, 750], abs=1
    )


def test_points_have_few_digits():
    assert list(equally_spaced(1e-5, 0.1, 5, log=True)) == [1e-5, 1e-4, 1e-3, 1e-2, 0.1]
    assert list(equally_spaced(0, 1.0, 3, log=False)) == [0.0, 0.5, 1.0]
    assert list(equally_spaced(1e-3, 1.0, 4, log=True)) == [0.001, 0.01, 0.1, 1.0]
    assert list(equally_spaced(1, 10, 4, log=False)) == [1, 4, 7, 10]
