"""The discrete Gaussian's table and convolution against closed forms in exact arithmetic; its draws as statistics."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from client.dp.alias_table import NUM_COLUMNS, TOTAL_WEIGHT
from client.dp.discrete_gaussian import (
    BASE_DEVIATION,
    DEVIATION,
    SPREAD,
    base_weights,
    discrete_gaussian,
)
from common.privacy.keystream import Keystream

ALPHA = 1e-6
NUM_DRAWS = 1_000_000
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
UNIT = 1 << 400
"""Of the fixed-point numbers in which the convolution is computed."""


# Table


def probabilities(deviation: int) -> list[Decimal]:
    """Of each value of a table; by Poisson summation the normaliser is s sqrt(2 pi) to within exp(-2 pi^2 s^2)."""
    with localcontext(prec=60):
        normaliser = deviation * (2 * PI).sqrt()
        half = [(Decimal(-(x * x)) / (2 * deviation**2)).exp() / normaliser for x in range(NUM_COLUMNS // 2 + 1)]
    return [*reversed(half[1:]), *half[:-1]]


def distance(weights: list[int], law: list[Decimal]) -> float:
    """Statistical distance over the values of a table."""
    with localcontext(prec=60):
        return float(sum(abs(Decimal(w) / TOTAL_WEIGHT - p) for w, p in zip(weights, law, strict=True)) / 2)


def test_table_is_the_discrete_gaussian() -> None:
    """2^-81 with what lies beyond the table, as the module states; each probability but that of 0 to 2^-95."""
    weights, law = base_weights(), probabilities(BASE_DEVIATION)
    with localcontext(prec=60):
        beyond = float(1 - sum(law)) / 2
        errors = [abs(Decimal(w) - p * TOTAL_WEIGHT) for w, p in zip(weights, law, strict=True)]
    assert distance(weights, law) + beyond < 1.01 * 2**-81
    errors.pop(NUM_COLUMNS // 2)
    # The unit of a weight is 2^-96. The value furthest below 0 is left out, so that the law is symmetric.
    assert max(errors[1:]) < 2


def test_table_of_another_deviation_is_caught() -> None:
    assert distance(base_weights(), probabilities(BASE_DEVIATION + 1)) > 2**-14


def test_table_is_symmetric() -> None:
    weights = base_weights()
    assert weights[0] == 0
    assert weights[1:] == weights[:0:-1]


# Convolution


@cache
def gaussian(deviation: int) -> dict[int, int]:
    """Weights out to 20 deviations, fixed point."""
    with localcontext(prec=130):
        return {
            x: int((Decimal(-x * x) / (2 * deviation**2)).exp() * UNIT)
            for x in range(-20 * deviation, 20 * deviation + 1)
        }


def convolve(one: dict[int, int], other: dict[int, int], spread: int) -> dict[int, int]:
    """Weights of A + spread B."""
    total: dict[int, int] = {}
    for b, weight in other.items():
        for a, value in one.items():
            x = a + spread * b
            total[x] = total.get(x, 0) + value * weight
    return {x: value // UNIT for x, value in total.items()}


def largest_ratio(law: dict[int, int], variance: int) -> float:
    """How far the weights are from a discrete Gaussian's, as the log of a ratio, within three deviations."""
    with localcontext(prec=130):
        ratios = [
            Decimal(law.get(x, 1)) / (Decimal(-x * x) / (2 * variance)).exp()
            for x in range(math.isqrt(9 * variance) + 1)
        ]
        return float((max(ratios) / min(ratios)).ln())


def test_convolution_has_the_law_point_by_point() -> None:
    """The same construction with tables of deviation 8: each probability to a factor of 1 + 2^-100."""
    deviation, spread = 8, 4
    two = convolve(gaussian(deviation), gaussian(deviation), spread)
    three = convolve(two, gaussian(deviation), spread**2)
    assert largest_ratio(three, deviation**2 * (1 + spread**2 + spread**4)) < 2**-100


@pytest.mark.parametrize(("spread", "least"), [(8, 1e-9), (16, 1e-2)])
def test_convolution_spread_too_far_is_caught(spread: int, least: float) -> None:
    two = convolve(gaussian(8), gaussian(8), spread)
    assert largest_ratio(two, 64 * (1 + spread**2)) > least


def test_convolution_is_spread_as_proven() -> None:
    """1 / t^2 = (1 + m^2) / s0^2 with t = 2, or within a millionth of it; the deviation follows from the variances."""
    assert BASE_DEVIATION / math.sqrt(1 + SPREAD**2) == pytest.approx(2, rel=1e-6)
    assert round(DEVIATION**2 / BASE_DEVIATION**2) == 1 + SPREAD**2 + SPREAD**4


# Draws


@cache
def draws() -> npt.NDArray[np.int64]:
    return discrete_gaussian(NUM_DRAWS, Keystream(b"discrete gaussian: a fixed key.."))


def has_the_deviation(values: npt.NDArray[np.float64]) -> bool:
    """Chi-square of the sum of squares over the stated variance."""
    return bool(ALPHA / 2 < stats.chi2.cdf(np.square(values).sum(), df=len(values)) < 1 - ALPHA / 2)


def test_draws_have_the_deviation() -> None:
    """With a fixed key, n = 1,000,000, alpha 1e-6."""
    assert has_the_deviation(draws() / DEVIATION)


@pytest.mark.parametrize("share", [0.97, 0.995, 1.005])
def test_draws_of_another_deviation_are_caught(share: float) -> None:
    assert not has_the_deviation(draws() * share / DEVIATION)


def test_draws_are_gaussian() -> None:
    """Kolmogorov and Smirnov, n = 1,000,000, alpha 1e-6: on this scale the law is the continuous one."""
    values = draws() / DEVIATION
    assert stats.kstest(values, "norm").pvalue > ALPHA
    assert stats.kstest(values + 0.01, "norm").pvalue < ALPHA


def low_digits_are_uniform(values: npt.NDArray[np.int64]) -> bool:
    """Chi-square of the residues modulo 1,000, which a Gaussian of so large a deviation cannot be told from uniform."""
    return bool(stats.chisquare(np.bincount(values % 1000, minlength=1000)).pvalue > ALPHA)


def test_draws_reach_every_integer() -> None:
    """With a fixed key, n = 1,000,000, alpha 1e-6; a coarser sum leaves residues out."""
    assert low_digits_are_uniform(draws())
    assert not low_digits_are_uniform(draws() // SPREAD * SPREAD)


def test_draws_of_nothing() -> None:
    assert len(discrete_gaussian(0, Keystream(bytes(32)))) == 0
