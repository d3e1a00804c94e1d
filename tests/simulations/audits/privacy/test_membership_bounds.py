"""What epsilon allows of a test, against a numerical curve of error rates and mechanisms whose curve is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from common.fairness.intervals import Interval
from simulations.audits.privacy.membership_bounds import advantage_allowed, area_allowed, epsilon_shown

EPSILONS = st.floats(0.01, 12)
DELTAS = st.floats(0, 0.2)


def least_misses(alarms: np.ndarray, epsilon: float, delta: float) -> np.ndarray:
    """The bound on misses as it is defined, rate by rate."""
    first = 1 - delta - math.exp(epsilon) * alarms
    second = math.exp(-epsilon) * (1 - delta - alarms)
    return np.maximum(np.maximum(first, second), 0)


@given(epsilon=EPSILONS, delta=DELTAS)
def test_bounds_are_those_of_the_curve_of_errors(epsilon: float, delta: float) -> None:
    alarms = np.concatenate([np.linspace(0, 2 * math.exp(-epsilon), 40_000), np.linspace(0, 1, 40_000)])
    alarms = np.unique(alarms.clip(0, 1))
    misses = least_misses(alarms, epsilon, delta)
    assert advantage_allowed(epsilon, delta) == pytest.approx((1 - misses - alarms).max(), abs=2e-4)
    assert area_allowed(epsilon, delta) == pytest.approx(np.trapezoid(1 - misses, alarms), abs=2e-4)


@given(epsilon=EPSILONS)
def test_randomised_response_reaches_both_bounds_and_goes_beyond_none(epsilon: float) -> None:
    """One bit, told rightly with probability e^epsilon / (1 + e^epsilon): the strongest test there is at delta 0."""
    rightly = 1 / (1 + math.exp(-epsilon))
    assert advantage_allowed(epsilon, 0.0) == pytest.approx(2 * rightly - 1)
    assert area_allowed(epsilon, 0.0) == pytest.approx(rightly)


@given(noise=st.floats(0.5, 5), epsilon=EPSILONS)
def test_gaussian_noise_stays_within_the_bounds_at_its_own_delta(noise: float, epsilon: float) -> None:
    """Delta of one release of the Gaussian mechanism by Balle and Wang (arXiv 1805.06530, theorem 8)."""
    half = 1 / (2 * noise)
    delta = norm.cdf(half - epsilon * noise) - math.exp(epsilon) * norm.cdf(-half - epsilon * noise)
    assert norm.cdf(1 / (noise * math.sqrt(2))) <= area_allowed(epsilon, delta) + 1e-9
    assert 2 * norm.cdf(half) - 1 <= advantage_allowed(epsilon, delta) + 1e-9


@given(epsilon=EPSILONS, delta=DELTAS)
def test_epsilon_shown_by_the_greatest_area_is_the_epsilon(epsilon: float, delta: float) -> None:
    area = area_allowed(epsilon, delta)
    assert epsilon_shown(Interval(area, 1.0), delta) == pytest.approx(epsilon, rel=1e-6)
    assert epsilon_shown(Interval(area - 0.01, 1.0), delta) < epsilon


def test_a_guess_shows_nothing_and_certainty_shows_any_epsilon() -> None:
    assert epsilon_shown(Interval(0.5, 0.6), 0.0) == 0
    assert epsilon_shown(Interval(0.2, 0.6), 1e-3) == 0
    assert epsilon_shown(Interval(1.0, 1.0), 1e-3) == math.inf
