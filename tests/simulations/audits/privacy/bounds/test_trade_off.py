"""Trade-off curves against the hockey-stick divergence by quadrature, and lines against the curve that they touch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from simulations.audits.privacy.bounds.trade_off import (
    curve_of_lines,
    delta_of_mu,
    epsilon_of_mu,
    gaussian_curve,
    mu_of_epsilon,
)


@pytest.mark.parametrize("mu", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 3.0])
def test_delta_is_the_hockey_stick_divergence(mu: float, epsilon: float) -> None:
    def excess(x: float) -> float:
        return max(norm.pdf(x, mu) - math.exp(epsilon) * norm.pdf(x), 0.0)

    start = mu / 2 + epsilon / mu
    assert delta_of_mu(mu, epsilon) == pytest.approx(quad(excess, start, start + 40)[0], abs=1e-9)


@pytest.mark.parametrize("epsilon", [0.2, 1.0, 4.0, 30.0])
@pytest.mark.parametrize("delta", [1e-6, 1e-3])
def test_mu_and_epsilon_are_inverse(epsilon: float, delta: float) -> None:
    assert epsilon_of_mu(mu_of_epsilon(epsilon, delta), delta) == pytest.approx(epsilon, rel=1e-6)


def test_no_shift_costs_nothing_and_an_endless_one_everything() -> None:
    assert epsilon_of_mu(0.0, 1e-5) == 0.0
    assert epsilon_of_mu(1e-4, 1e-3) == 0.0
    assert epsilon_of_mu(1e3, 1e-5) == math.inf


def test_lines_of_a_gaussian_lie_below_its_curve_and_touch_it() -> None:
    """Many pairs of epsilon and delta say nearly all of the curve, and never more."""
    mu, exact = 1.0, gaussian_curve(1.0)
    lines = curve_of_lines([(epsilon, delta_of_mu(mu, epsilon)) for epsilon in np.linspace(0, 8, 200)])
    for hits in np.linspace(0.001, 0.999, 50):
        assert exact(hits) - 2e-4 < lines(hits) <= exact(hits) + 1e-12


def test_lines_of_pure_privacy_are_those_of_randomised_response() -> None:
    lines = curve_of_lines([(math.log(3), 0.0)])
    assert lines(0.75) == pytest.approx(0.25)
    assert lines(0.3) == pytest.approx(0.1)
    assert lines(0.9) == pytest.approx(0.7)
