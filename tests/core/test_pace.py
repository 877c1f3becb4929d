"""How fast a search goes, and how a duration is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dahps_core.model.pace import per_hour, shown_duration


@pytest.mark.parametrize(
    ("ends", "pace"),
    [([], None), ([5.0], None), ([5.0, 5.0], None), ([0.0, 10.0], 360), ([20.0, 0.0, 10.0], 360)],
)
def test_the_pace_is_that_of_the_ends(ends, pace):
    assert per_hour((end, 1) for end in ends) == pace
    assert per_hour((end, 2.5) for end in ends) == (None if pace is None else 2.5 * pace)


def test_what_ended_long_before_the_last_end_does_not_count():
    assert per_hour((end, 1) for end in [0.0, 1.0, 2.0, 100_000.0, 100_010.0]) == 360


@given(st.lists(st.floats(0, 1e10), max_size=50))
def test_a_pace_is_positive_if_there_is_one(ends):
    pace = per_hour((end, 1) for end in ends)
    assert pace is None or pace > 0


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (59.9, "1 min"),
        (3570, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (172_799, "2 days 0 h"),
        (1e10, "115,740 days 17 h"),
    ],
)
def test_a_duration_is_told_in_two_units(seconds, shown):
    assert shown_duration(seconds) == shown
