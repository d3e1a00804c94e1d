"""Hours of the day, across midnight too."""

from __future__ import annotations

from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.policy.hours import Hours, hours_of
from common.errors import ConfigError

MINUTES = 24 * 60
minute = st.integers(0, MINUTES - 1)


def at(minutes: int) -> time:
    return time(minutes // 60, minutes % 60)


@given(start=minute, length=st.integers(1, MINUTES - 1), moment=minute)
def test_hours_hold_the_minutes_that_a_walk_around_the_clock_meets(start: int, length: int, moment: int) -> None:
    walked = {(start + step) % MINUTES for step in range(length)}
    hours = Hours(start=at(start), end=at((start + length) % MINUTES))
    assert (at(moment) in hours) == (moment in walked)


@given(start=minute, length=st.integers(1, MINUTES - 1))
def test_hours_read_what_they_write(start: int, length: int) -> None:
    hours = Hours(start=at(start), end=at((start + length) % MINUTES))
    assert hours_of(str(hours)) == hours


def test_hours_end_is_outside_and_start_inside() -> None:
    night = hours_of("22:00-06:00")
    assert night is not None
    assert [time(h, m) in night for h, m in ((21, 59), (22, 0), (0, 0), (5, 59), (6, 0))] == [
        False,
        True,
        True,
        True,
        False,
    ]


def test_hours_left_out_are_always() -> None:
    assert hours_of("") is None


@pytest.mark.parametrize(
    "text", ["22-6", "22:00-24:00", "9:00-17:00", "22:00", "always", "22:00-06:00 ", "25:00-06:00"]
)
def test_hours_of_another_form_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match='write "22:00-06:00"'):
        hours_of(text)


def test_hours_that_are_empty_are_refused() -> None:
    with pytest.raises(ConfigError, match="starts when it ends"):
        hours_of("06:00-06:00")
