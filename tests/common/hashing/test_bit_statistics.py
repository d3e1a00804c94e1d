"""Statistics of bits, beside NumPy's correlation and SciPy's entropy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

from common.hashing.bit_statistics import bit_statistics


def test_statistics_equal_those_of_numpy_and_scipy() -> None:
    source = np.random.default_rng(0)
    bits = source.random((500, 64)) < source.uniform(0.1, 0.9, 64)
    bits[:, 1] = bits[:, 0]
    found = bit_statistics(np.packbits(bits, axis=1))
    correlation = np.abs(np.corrcoef(bits.T))
    share = bits.mean(axis=0)
    assert found.correlation == pytest.approx(correlation[~np.eye(64, dtype=bool)].mean())
    assert found.entropy == pytest.approx(np.mean([entropy([p, 1 - p], base=2) for p in share]))
    assert found.balance == pytest.approx(np.mean(np.minimum(share, 1 - share) / 0.5))


def test_constant_bits_tell_nothing() -> None:
    constant = bit_statistics(np.full((10, 8), 255, dtype=np.uint8))
    assert (constant.balance, constant.correlation, constant.entropy) == (0, 0, 0)


def test_no_code_has_no_statistics() -> None:
    with pytest.raises(ValueError, match="no code"):
        bit_statistics(np.zeros((0, 8), dtype=np.uint8))
