"""Epsilon against published figures and exact formulas, and noise that never overspends."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from common.errors import ConfigError
from common.privacy.accountant import LEAST_NOISE, epsilon_of, noise_multiplier_for
from common.privacy.events import SampledGaussian

DELTA = 1e-5


def event(steps: int, *, noise: float = 1.0, probability: float = 0.02) -> SampledGaussian:
    return SampledGaussian(noise_multiplier=noise, sampling_probability=probability, steps=steps)


@pytest.mark.parametrize(("steps", "epsilon"), [(250, 2.03), (500, 2.77), (1000, 3.90), (2000, 5.616), (5000, 9.40)])
def test_epsilon_matches_the_reference_figures(steps: int, epsilon: float) -> None:
    """Two accountants agree on these within 0.02: PRV (Gopi et al., arXiv 2106.02848) and PLD."""
    assert abs(epsilon_of([event(steps)], delta=DELTA) - epsilon) < 0.02


@pytest.mark.parametrize(("epsilon", "noise"), [(1.0, 3.447), (2.0, 1.948), (4.0, 1.208), (8.0, 0.847)])
def test_noise_matches_the_reference_figures(epsilon: float, noise: float) -> None:
    found = noise_multiplier_for(epsilon=epsilon, delta=DELTA, sampling_probability=0.02, steps=2000)
    assert abs(found / noise - 1) < 0.005


def gaussian_delta(epsilon: float, sensitivity: float) -> float:
    """The exact delta of a Gaussian mechanism (Balle and Wang, arXiv 1805.06530, theorem 8)."""
    half = sensitivity / 2
    return float(norm.cdf(half - epsilon / sensitivity) - math.exp(epsilon) * norm.cdf(-half - epsilon / sensitivity))


@pytest.mark.parametrize(("noise", "steps"), [(1.0, 1), (4.0, 10), (20.0, 100)])
def test_epsilon_without_sampling_equals_the_analytic_gaussian(noise: float, steps: int) -> None:
    """Independent of any accountant: T releases are one with sensitivity sqrt(T) / noise."""
    found = epsilon_of([event(steps, noise=noise, probability=1.0)], delta=DELTA)
    sensitivity = math.sqrt(steps) / noise
    assert gaussian_delta(found, sensitivity) <= DELTA
    assert gaussian_delta(found * 0.99, sensitivity) > DELTA


def test_epsilon_grows_with_every_step() -> None:
    found = [epsilon_of([event(steps, noise=2.0)], delta=DELTA) for steps in (0, 1, 2, 10, 100)]
    assert found == sorted(found)
    assert found[0] == 0 < found[1]


def test_epsilon_of_parts_is_that_of_the_whole() -> None:
    parts = [event(10), event(0), event(25), event(15)]
    assert epsilon_of(parts, delta=DELTA) == epsilon_of([event(50)], delta=DELTA)


def test_epsilon_order_of_different_events_does_not_matter() -> None:
    parts = [event(20, noise=1.0), event(20, noise=2.0), event(20, probability=0.1)]
    whole = epsilon_of(parts, delta=DELTA)
    assert whole == epsilon_of(parts[::-1], delta=DELTA)
    assert whole > max(epsilon_of([part], delta=DELTA) for part in parts)


def test_epsilon_of_nothing_is_zero() -> None:
    assert epsilon_of([], delta=DELTA) == 0
    assert epsilon_of([event(0, noise=0.0)], delta=DELTA) == 0


def test_epsilon_without_noise_is_infinite() -> None:
    assert epsilon_of([event(1, noise=0.0), event(10)], delta=DELTA) == math.inf


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    epsilon=st.floats(0.5, 3), probability=st.floats(0.05, 1), steps=st.integers(10, 200), delta=st.floats(1e-6, 1e-3)
)
def test_noise_never_overspends(epsilon: float, probability: float, steps: int, delta: float) -> None:
    noise = noise_multiplier_for(epsilon=epsilon, delta=delta, sampling_probability=probability, steps=steps)
    assert epsilon_of([event(steps, noise=noise, probability=probability)], delta=delta) <= epsilon
    less = event(steps, noise=noise * 0.998, probability=probability)
    assert noise == LEAST_NOISE or epsilon_of([less], delta=delta) > epsilon


def test_noise_of_no_steps_is_zero() -> None:
    assert noise_multiplier_for(epsilon=1.0, delta=DELTA, sampling_probability=0.1, steps=0) == 0


def test_noise_for_a_loose_epsilon_is_the_least() -> None:
    assert noise_multiplier_for(epsilon=1000.0, delta=1e-3, sampling_probability=0.3, steps=5) == LEAST_NOISE


def test_noise_out_of_reach_names_the_keys_and_the_remedy() -> None:
    with pytest.raises(ConfigError, match=r"privacy\.epsilon=0\.001 .*raise epsilon.*federation\.rounds"):
        noise_multiplier_for(epsilon=0.001, delta=1e-3, sampling_probability=1.0, steps=1000)
