"""Fingerprints: the same bits are known again wherever they lie in memory, and honest updates are never mistaken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.typing import NDArray

from server.replay import NUM_SPACED, fingerprint_of

SIZES = [1, 2, 7, NUM_SPACED - 1, NUM_SPACED, NUM_SPACED + 1, 10 * NUM_SPACED + 3]


def normal(size: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


@given(arrays_of.arrays(np.float32, st.integers(1, 50), elements=st.floats(width=32)))
def test_fingerprint_is_of_the_values_not_of_their_place(values_P: NDArray[np.float32]) -> None:
    """A row of the cohort's block may begin at any address."""
    block = np.empty(values_P.size + 1, dtype=np.float32)
    block[1:] = values_P
    assert fingerprint_of(block[1:]) == fingerprint_of(values_P)


@pytest.mark.parametrize("size", SIZES)
def test_fingerprint_notices_any_one_bit(size: int) -> None:
    update_P = normal(size)
    before = fingerprint_of(update_P)
    for position in {0, 1 % size, size // 3, size - 1}:
        for bit in (0, 12, 31):
            other_P = update_P.copy()
            other_P.view(np.uint32)[position] ^= np.uint32(1 << bit)
            assert fingerprint_of(other_P) != before


@pytest.mark.parametrize("size", SIZES[1:])
def test_thousand_updates_of_one_site_have_as_many_fingerprints(size: int) -> None:
    assert len({fingerprint_of(normal(size, seed)) for seed in range(1000)}) == 1000


def test_sparse_updates_that_are_zero_wherever_it_looks_differ_by_their_sum() -> None:
    seen = set()
    for number in range(1, 500):
        update_P = np.zeros(100 * NUM_SPACED, dtype=np.float32)
        update_P[1:50] = normal(49, number)
        seen.add(fingerprint_of(update_P))
    assert len(seen) == 499


def test_fingerprint_of_given_bits_is_the_same_in_every_run() -> None:
    """It is compared with those of a checkpoint, perhaps of another machine."""
    assert fingerprint_of(np.arange(5000, dtype=np.float32)) == "bb06bcc35b02ebf7"
