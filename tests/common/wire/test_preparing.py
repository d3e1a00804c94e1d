"""What a site says while it prepares: coarse, and nothing that a lying site could put more into."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.wire.preparing import MINUTES, Preparing, preparing_of


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.none() | st.floats(0, 1e7))
def test_words_are_coarse_and_come_back(done: int, total: int, seconds_left: float | None) -> None:
    said = Preparing.at(done=min(done, total), total=total, seconds_left=seconds_left)
    assert said.percent in range(0, 100, 10)
    assert said.minutes in (0, *MINUTES)
    assert preparing_of(said.reason) == said
    assert said.reason.isidentifier()
    if seconds_left is not None and seconds_left <= 60 * MINUTES[-1]:
        assert 60 * said.minutes >= seconds_left


@pytest.mark.parametrize(
    "reason",
    [
        "data",
        "preparing",
        "preparing_45_10",
        "preparing_40_11",
        "preparing_100_1",
        "preparing_00_1",
        "preparing_40_10\n",
        "preparing_40_010",
        "preparing_40_10_3",
        "preparing_\u06640_10",
    ],
)
def test_anything_else_is_no_such_word(reason: str) -> None:
    assert preparing_of(reason) is None


def test_people_are_told_how_long() -> None:
    assert Preparing(percent=40, minutes=10).in_words() == "preparing its studies, 40% done, 10 min left at most"
    assert Preparing(percent=0, minutes=0).in_words() == "preparing its studies, 0% done"
    assert Preparing(percent=0, minutes=600).in_words() == "preparing its studies, 0% done, 10 hours or more left"
