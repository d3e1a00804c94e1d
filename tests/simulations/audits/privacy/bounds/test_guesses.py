"""Bounds from guesses: against a linear programme, and on ideal mechanisms whose epsilon is known.

False alarms: each bound holds with 95%. Over n runs it is wrong more than `allowed(n)` times with probability 1e-6.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.stats import binom

from simulations.audits.privacy.bounds.guesses import (
    Guesses,
    chance_of_guesses,
    epsilon_of_curves,
    epsilon_of_guesses,
    refuted_by_guesses,
)
from simulations.audits.privacy.bounds.trade_off import (
    curve_of_lines,
    delta_of_mu,
    gaussian_curve,
    mu_of_epsilon,
)

CONFIDENCE, DELTA = 0.95, 1e-5
CANARIES, RUNS = 1000, 100


def allowed(runs: int) -> int:
    return int(binom.isf(1e-6, runs, 1 - CONFIDENCE))


def guessed(scores: NDArray[np.float64], is_in: NDArray[np.bool_], num_guesses: int) -> Guesses:
    """The highest scores are guessed in, the lowest out."""
    order = np.argsort(scores)
    half = num_guesses // 2
    right = int(is_in[order[-half:]].sum() + (~is_in[order[:half]]).sum())
    return Guesses(num_canaries=len(is_in), num_guesses=2 * half, num_correct=right)


def gaussian_run(generator: np.random.Generator, mu: float, num_guesses: int) -> Guesses:
    is_in = generator.random(CANARIES) < 0.5
    return guessed(generator.standard_normal(CANARIES) + mu * is_in, is_in, num_guesses)


@cache
def of_guesses(guesses: Guesses, delta: float) -> float:
    return epsilon_of_guesses(guesses, delta=delta, confidence=CONFIDENCE)


@cache
def of_gaussian_curves(guesses: Guesses, delta: float) -> float:
    return epsilon_of_curves(
        guesses,
        lambda epsilon: gaussian_curve(mu_of_epsilon(max(epsilon, 1e-3), delta)),
        confidence=CONFIDENCE,
        halvings=12,
    )


def most_probable_tail(guesses: Guesses, mu: float) -> float:
    """The largest P[W >= v] under the constraints of every suffix, by a linear programme.

    Each tangent of the concave 1 - f is a constraint of its own: R_i <= b_k + a_k H_{i-1}. The programme may be a
    little larger than the truth, for there are finitely many tangents.
    """
    m, r, v = guesses.num_canaries, guesses.num_guesses, guesses.num_correct
    rows, limits = [], []
    for at in np.linspace(-6, 6, 400):
        # The line of slope e^epsilon that touches 1 - f.
        slope = math.exp(-mu * at - mu**2 / 2)
        steep = delta_of_mu(mu, abs(math.log(slope)))
        delta = steep if slope >= 1 else 1 - slope + slope * steep
        for i in range(1, r + 1):
            row = np.zeros(r + 1)
            row[i:] += np.arange(i, r + 1) / m
            row[i - 1 :] -= slope * (r - np.arange(i - 1, r + 1)) / m
            rows.append(row)
            limits.append(delta)
    found = linprog(
        -(np.arange(r + 1) >= v).astype(float), A_ub=np.array(rows), b_ub=limits, A_eq=np.ones((1, r + 1)), b_eq=[1.0]
    )
    return -float(found.fun)


@pytest.mark.parametrize(("m", "r", "v", "mu"), [(12, 12, 10, 0.5), (20, 8, 7, 1.0), (15, 10, 10, 0.8), (9, 9, 6, 0.3)])
def test_recursion_is_the_linear_programme(m: int, r: int, v: int, mu: float) -> None:
    guesses = Guesses(num_canaries=m, num_guesses=r, num_correct=v)
    tail = most_probable_tail(guesses, mu)
    curve = gaussian_curve(mu)
    assert 0 < tail < 1
    assert refuted_by_guesses(guesses, curve, confidence=1 - tail * 1.01)
    assert not refuted_by_guesses(guesses, curve, confidence=1 - tail * 0.97)


def test_more_right_guesses_say_more_and_more_epsilon_allows_more() -> None:
    bounds = [of_guesses(Guesses(num_canaries=1000, num_guesses=100, num_correct=v), DELTA) for v in (50, 70, 90, 100)]
    assert bounds == sorted(bounds)
    assert bounds[0] == 0.0
    for right in (60, 80, 95):
        guesses = Guesses(num_canaries=1000, num_guesses=100, num_correct=right)
        chances = [chance_of_guesses(guesses, epsilon, 1e-4) for epsilon in np.linspace(0, 6, 121)]
        assert np.diff(chances).min() >= -1e-12


def test_bound_holds_for_randomised_response() -> None:
    """Epsilon 1, 500 runs of 200 coins, each of which reveals itself with delta 1e-3 besides."""
    generator, epsilon, delta = np.random.default_rng(1), 1.0, 1e-3
    keeps = math.exp(epsilon) / (1 + math.exp(epsilon))
    wrong = 0
    for _ in range(500):
        right = (generator.random(200) < keeps) | (generator.random(200) < delta)
        guesses = Guesses(num_canaries=200, num_guesses=200, num_correct=int(right.sum()))
        wrong += of_guesses(guesses, delta) > epsilon
    assert wrong <= allowed(500)


def test_bounds_hold_for_the_gaussian_mechanism_and_find_most_of_it() -> None:
    """Epsilon 4, 100 runs of 1,000 canaries: neither bound is too high, and both come to what is published."""
    generator, mu = np.random.default_rng(2), mu_of_epsilon(4.0, DELTA)
    runs = [(gaussian_run(generator, mu, 100), gaussian_run(generator, mu, 200)) for _ in range(RUNS)]
    steinke = np.array([of_guesses(few, DELTA) for few, _ in runs])
    curves = np.array([of_gaussian_curves(many, DELTA) for _, many in runs])
    assert (steinke > 4).sum() <= allowed(RUNS)
    assert (curves > 4).sum() <= allowed(RUNS)
    assert steinke.mean() > 1.4
    assert curves.mean() > 2.2


def test_claim_that_is_too_small_is_refuted() -> None:
    """A mechanism of epsilon 8 that claims 1: in each of 20 runs."""
    generator, mu = np.random.default_rng(3), mu_of_epsilon(8.0, DELTA)
    for _ in range(20):
        assert of_guesses(gaussian_run(generator, mu, 100), DELTA) > 1
        assert of_gaussian_curves(gaussian_run(generator, mu, 200), DELTA) > 1


def test_curves_of_lines_say_less_than_the_gaussian_and_not_much() -> None:
    guesses, delta = Guesses(num_canaries=1000, num_guesses=200, num_correct=170), 1e-4

    def lines(epsilon: float) -> object:
        mu = mu_of_epsilon(max(epsilon, 1e-3), delta)
        return curve_of_lines([(each, delta_of_mu(mu, each)) for each in np.linspace(0, 6, 40)])

    found = epsilon_of_curves(guesses, lines, confidence=CONFIDENCE, halvings=10)  # type: ignore[arg-type]
    exact = of_gaussian_curves(guesses, delta)
    assert exact - 0.1 < found <= exact + 0.01


def test_all_right_of_all_is_endless_and_impossible_guesses_are_refused() -> None:
    perfect = Guesses(num_canaries=10_000, num_guesses=10_000, num_correct=10_000)
    assert of_guesses(perfect, 0.0) > 8
    with pytest.raises(ValueError, match="at most the next"):
        Guesses(num_canaries=5, num_guesses=6, num_correct=1)
