"""Whole parts are spread as weights are, and none is lost."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from client.measurement.apportion import apportioned


@given(
    parts=st.integers(0, 1000),
    weights=st.lists(st.integers(0, 10**6), min_size=1, max_size=8),
)
def test_parts_are_whole_complete_and_next_to_their_shares(parts: int, weights: list[int]) -> None:
    (spread,) = apportioned(np.array([parts]), np.array([weights]))
    if not any(weights):
        assert not spread.any()
        return
    assert spread.sum() == parts
    shares = [Fraction(parts * weight, sum(weights)) for weight in weights]
    assert all(abs(int(part) - share) < 1 for part, share in zip(spread, shares, strict=True))
    assert all(part == 0 for part, weight in zip(spread, weights, strict=True) if weight == 0)


def test_largest_remainders_come_first_and_rows_do_not_mix() -> None:
    spread = apportioned(np.array([10, 3, 0]), np.array([[1, 1, 1], [5, 0, 1], [2, 2, 2]]))
    assert spread.tolist() == [[4, 3, 3], [3, 0, 0], [0, 0, 0]]
