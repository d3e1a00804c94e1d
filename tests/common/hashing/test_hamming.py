"""Hamming distances, against counting differing bits one pair at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.hashing.hamming import hamming_distances


def by_counting(first: np.ndarray, second: np.ndarray) -> list[list[int]]:
    numbers = [[int.from_bytes(code.tobytes()) for code in side] for side in (first, second)]
    return [[(one ^ other).bit_count() for other in numbers[1]] for one in numbers[0]]


@given(
    num_first=st.integers(1, 30),
    num_second=st.integers(1, 30),
    num_bytes=st.integers(6, 32),
    seed=st.integers(0, 2**32 - 1),
)
def test_distances_equal_the_count_of_differing_bits(
    num_first: int, num_second: int, num_bytes: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    first = generator.integers(0, 256, (num_first, num_bytes), dtype=np.uint8)
    second = generator.integers(0, 256, (num_second, num_bytes), dtype=np.uint8)
    distances = hamming_distances(first, second)
    assert distances.dtype == np.int32
    assert distances.tolist() == by_counting(first, second)


def test_distances_reach_both_ends() -> None:
    ones, zeros = np.full((1, 32), 255, np.uint8), np.zeros((1, 32), np.uint8)
    assert hamming_distances(ones, np.vstack([ones, zeros])).tolist() == [[0, 256]]


def test_distances_read_strided_codes() -> None:
    codes = np.random.default_rng(0).integers(0, 256, (10, 16), dtype=np.uint8)
    assert hamming_distances(codes[::2, ::2], codes[1::2, ::2]).tolist() == by_counting(
        codes[::2, ::2], codes[1::2, ::2]
    )


@pytest.mark.parametrize(("num_first", "num_second"), [(0, 3), (3, 0), (0, 0)])
def test_distances_of_nothing_are_empty(num_first: int, num_second: int) -> None:
    sides = np.zeros((num_first, 8), np.uint8), np.zeros((num_second, 8), np.uint8)
    assert hamming_distances(*sides).shape == (num_first, num_second)


def test_distances_refuse_codes_of_two_widths() -> None:
    with pytest.raises(ValueError, match="64 and of 128 bits"):
        hamming_distances(np.zeros((1, 8), np.uint8), np.zeros((1, 16), np.uint8))
