"""The audit's accountant against closed forms, and against the accountant of record."""

from __future__ import annotations

import math

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from common.errors import ConfigError
from common.privacy.accountant import epsilon_of
from common.privacy.events import SampledGaussian
from simulations.audits.privacy.loss_distribution import GRID_ERROR, epsilon_bounds


def event(noise: float, probability: float, steps: int) -> SampledGaussian:
    return SampledGaussian(noise_multiplier=noise, sampling_probability=probability, steps=steps)


def by_closed_form(noise: float, steps: int, delta: float) -> float:
    """Balle and Wang (2018, arXiv 1805.06530), theorem 8: T Gaussian releases are one of multiplier s / sqrt(T)."""
    mu = math.sqrt(steps) / noise

    def excess(epsilon: float) -> float:
        return float(norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)) - delta

    return float(brentq(excess, 0, 200))


@pytest.mark.parametrize(
    ("noise", "steps", "delta"), [(2.0, 1, 1e-5), (5.0, 20, 1e-6), (1.0, 3, 1e-3), (30.0, 50, 1e-4)]
)
def test_bounds_enclose_the_closed_form_without_sampling(noise: float, steps: int, delta: float) -> None:
    found = epsilon_bounds(event(noise, 1.0, steps), delta=delta)
    assert found.low <= by_closed_form(noise, steps, delta) <= found.high
    assert found.high - found.low <= 2 * GRID_ERROR


@pytest.mark.parametrize(
    ("noise", "probability", "steps", "delta"),
    [(1.6, 0.3, 50, 1e-3), (4.5, 0.3, 100, 1e-3), (1.0, 0.05, 100, 1e-5), (0.8, 0.1, 20, 1e-4)],
)
def test_bounds_agree_with_the_accountant_of_record(noise: float, probability: float, steps: int, delta: float) -> None:
    """Never below the lower one, and within 0.02 of the upper."""
    sampled = event(noise, probability, steps)
    found, stated = epsilon_bounds(sampled, delta=delta), epsilon_of([sampled], delta=delta)
    assert found.low <= stated <= found.high + 0.02
    assert found.high - found.low <= 2 * GRID_ERROR


def test_a_single_sampled_release_is_the_closed_form() -> None:
    """Q (delta of the unsampled) at epsilon' = log(1 + (e^epsilon - 1) / q): amplification of one removal is exact."""
    noise, q, delta = 1.0, 0.2, 1e-4
    found = epsilon_bounds(event(noise, q, 1), delta=delta)
    inner = by_closed_form(noise, 1, delta / q)
    exact = math.log1p(q * math.expm1(inner))
    assert found.low <= exact <= found.high


def test_more_noise_and_fewer_steps_state_less() -> None:
    whole = epsilon_bounds(event(1.5, 0.3, 40), delta=1e-4)
    assert epsilon_bounds(event(1.8, 0.3, 40), delta=1e-4).high < whole.low
    assert epsilon_bounds(event(1.5, 0.3, 20), delta=1e-4).high < whole.low
    assert epsilon_bounds(event(1.5, 0.2, 40), delta=1e-4).high < whole.low


def test_nothing_released_costs_nothing() -> None:
    assert epsilon_bounds(event(1.0, 0.3, 0), delta=1e-5).high == 0
    assert epsilon_bounds(event(1.0, 0.0, 5), delta=1e-5).high == 0


def test_too_fine_a_grid_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="fewer rounds"):
        epsilon_bounds(event(0.01, 1.0, 1000), delta=1e-5)
