"""Discrete Laplace noise: its law against a closed form in exact arithmetic, and the event it costs."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from scipy import stats

from common.errors import ConfigError
from common.privacy.events import DiscreteLaplace
from common.privacy.keystream import Keystream
from common.privacy.mechanisms import DiscreteLaplaceMechanism, geometric_digits

KEY = bytes(range(32))
ALPHA = 1e-6


def mechanism(noise_scale: float = 2.5, sensitivity: int = 1) -> DiscreteLaplaceMechanism:
    return DiscreteLaplaceMechanism(noise_scale=noise_scale, sensitivity=sensitivity, stream=partial(Keystream, KEY))


def law_of_geometric(thresholds: list[int]) -> list[Fraction]:
    """Exact probability of each value that the digits can make."""
    law = [Fraction(1)]
    for threshold in thresholds:
        one = Fraction(threshold, 2**64)
        law = [p * (1 - one) for p in law] + [p * one for p in law]
    return law


def distance_from_geometric(thresholds: list[int], scale: Fraction) -> Fraction:
    """Statistical distance between the law of the digits and (1 - r) r^x, r = exp(-1 / scale)."""
    law = law_of_geometric(thresholds)
    with localcontext(prec=80):
        r = Fraction((Decimal(-scale.denominator) / Decimal(scale.numerator)).exp())
    # The ratio is cut to 200 bits: whole fractions would grow with the power. It costs less than 2^-180.
    power, true = Fraction(1), []
    for _ in law:
        true.append((1 - r) * power)
        power = Fraction(int(power * r * 2**200), 2**200)
    return (sum((abs(p - t) for p, t in zip(law, true, strict=True)), Fraction(0)) + power) / 2


@pytest.mark.parametrize(("noise_scale", "sensitivity"), [(0.1, 1), (1.0, 1), (2.5, 3), (0.7, 10)])
def test_digits_are_a_geometric_variable(noise_scale: float, sensitivity: int) -> None:
    distance = distance_from_geometric(geometric_digits(noise_scale, sensitivity), Fraction(noise_scale) * sensitivity)
    assert distance < Fraction(1, 2**59)


def test_digits_of_another_scale_are_caught() -> None:
    assert distance_from_geometric(geometric_digits(2.5, 1), Fraction(2.501)) > Fraction(1, 2**14)


@pytest.mark.parametrize("scale", [1000.0, 2.0**20])
def test_digits_of_a_large_scale_leave_out_less_than_stated(scale: float) -> None:
    """Each of the two geometric variables errs by 2^-64 a digit, and by the digits left out, at most 2^-63."""
    assert 2 * (len(geometric_digits(scale, 1)) + 2) * Fraction(1, 2**64) < Fraction(1, 2**58)


def fits_discrete_laplace(noise: np.ndarray, scale: float) -> bool:
    """Chi-square over the values -12 to 12 and the two tails."""
    r = np.exp(-1 / scale)
    inner = np.arange(-12, 13)
    expected = (1 - r) / (1 + r) * r ** np.abs(inner)
    tail = r**13 / (1 + r)
    counts = [np.sum(noise < -12), *(np.sum(noise == value) for value in inner), np.sum(noise > 12)]
    return bool(stats.chisquare(counts, np.array([tail, *expected, tail]) * len(noise)).pvalue > ALPHA)


def test_noise_is_discrete_laplace() -> None:
    """With a fixed key, n = 400,000, alpha 1e-6."""
    noise = mechanism().noised(np.zeros(400_000, dtype=np.int64))
    assert fits_discrete_laplace(noise, 2.5)
    assert not fits_discrete_laplace(noise, 2.5 * 0.97)


def test_noise_grows_with_the_sensitivity() -> None:
    """With a fixed key, n = 400,000, alpha 1e-6."""
    noise = mechanism(0.5, 5).noised(np.zeros(400_000, dtype=np.int64))
    assert fits_discrete_laplace(noise, 2.5)
    assert not fits_discrete_laplace(noise, 0.5)


def test_noise_does_not_depend_on_the_values() -> None:
    values = np.array([[3, -2, 10**6], [0, 7, 11]])
    zeros = np.zeros_like(values)
    assert np.array_equal(mechanism().noised(values) - values, mechanism().noised(zeros))


def test_noise_of_the_system_differs_by_call() -> None:
    fresh = DiscreteLaplaceMechanism(noise_scale=50.0, sensitivity=1)
    assert not np.array_equal(fresh.noised(np.zeros(40, np.int64)), fresh.noised(np.zeros(40, np.int64)))


def test_nothing_to_release_gives_nothing() -> None:
    assert mechanism().noised(np.zeros((0, 3), dtype=np.int64)).shape == (0, 3)


def test_event_is_the_noise_over_the_sensitivity() -> None:
    assert mechanism(2.5, 4).event(12) == DiscreteLaplace(noise_scale=2.5, releases=12)


@pytest.mark.parametrize(
    ("noise_scale", "sensitivity"), [(0.0, 1), (-1.0, 1), (0.09, 1), (float("nan"), 1), (float("inf"), 1), (1.0, 0)]
)
def test_noise_that_protects_nobody_is_refused(noise_scale: float, sensitivity: int) -> None:
    with pytest.raises(ConfigError, match="discrete Laplace"):
        DiscreteLaplaceMechanism(noise_scale=noise_scale, sensitivity=sensitivity)


def losses(shift: int, scale: float) -> dict[int, float]:
    """Law of the privacy loss, in units of one over the noise's scale, of a value that a patient moves by `shift`."""
    values = np.arange(-int(60 * scale) - 50, int(60 * scale) + 51)
    ratio = np.exp(-1 / scale)
    mass = (1 - ratio) / (1 + ratio) * ratio ** np.abs(values)
    found: dict[int, float] = {}
    for loss, share in zip((np.abs(values - shift) - np.abs(values)).tolist(), mass.tolist(), strict=True):
        found[loss] = found.get(loss, 0.0) + share
    return found


def divergence(shifts: tuple[int, ...], scale: float, epsilon: float) -> float:
    """Delta at an epsilon, of a vector whose values a patient moves by the shifts."""
    joint = {0: 1.0}
    for shift in shifts:
        one = losses(shift, scale)
        summed: dict[int, float] = {}
        for loss, share in joint.items():
            for more, weight in one.items():
                summed[loss + more] = summed.get(loss + more, 0.0) + share * weight
        joint = summed
    return sum(share * max(0.0, 1 - float(np.exp(epsilon - loss / scale))) for loss, share in joint.items())


@pytest.mark.parametrize("noise_scale", [0.1, 1.0, 4.0])
def test_vector_moved_by_the_sensitivity_altogether_costs_no_more_than_one_value(noise_scale: float) -> None:
    """Under both relations, against the pairs of losses that the accountant takes; moved further, it costs more."""
    sensitivity, most = 8, 1 / noise_scale
    scale = noise_scale * sensitivity
    for share in (0.0, 0.3, 0.7):
        epsilon = share * most
        one = max(0.0, (np.exp(most) - np.exp(epsilon)) / (1 + np.exp(most)))
        for parts in ((8,), (4, 4), (7, 1), (5, 3), (3, 3, 2)):
            assert divergence(parts, scale, epsilon) <= one + 1e-12
        replaced = divergence((2,), noise_scale, epsilon)
        for parts in ((8, 8), (7, 9), (7, 1, 8), (5, 3, 8), (3, 3, 10)):
            assert divergence(parts, scale, epsilon) <= replaced + 1e-12
    assert divergence((8,), scale, most) <= 1e-12 < 1e-3 < divergence((8, 8), scale, most)
