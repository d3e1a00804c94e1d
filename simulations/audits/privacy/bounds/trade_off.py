"""What a claim of privacy lets an attacker reach: of a test's false alarms h, at most so many hits r.

A mechanism is f-differentially private where every test between two neighbours has 1 - r >= f(h) (Dong, Roth and Su,
JRSSB 2022, arXiv 1905.02383). A `Curve` is the inverse, in the form that audits ask for: the least h of a given r.

Gaussian: f(h) = Phi(Phi^-1(1 - h) - mu), that of N(0, 1) against N(mu, 1); it is (epsilon, delta)-DP for

    delta = Phi(mu / 2 - epsilon / mu) - e^epsilon Phi(-mu / 2 - epsilon / mu)

(there, corollary 2.13; Balle and Wang, ICML 2018, arXiv 1805.06530). Lines: the best f that is known of a mechanism
which is (epsilon_k, delta_k)-DP for each k (there, proposition 2.5).

Neighbouring relation: add or remove one patient; a curve holds for both orders.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, ndtri

Curve = Callable[[float], float]
"""The least probability of a false alarm of a test that hits with a given probability."""

MOST_EPSILON = 100.0
"""Beyond it a bound says infinity: nothing is left to be told apart."""

_MOST_MU = 40.0
_LEAST_MU = 1e-6


def gaussian_curve(mu: float) -> Curve:
    """Of N(0, 1) against N(mu, 1)."""
    return lambda hits: float(ndtr(ndtri(min(hits, 1.0)) - mu))


def curve_of_lines(claims: Sequence[tuple[float, float]]) -> Curve:
    """Of what is (epsilon, delta)-differentially private for each of some pairs.

    Args:
        claims: Pairs of epsilon and delta.
    """
    epsilon_K, delta_K = np.array(claims, dtype=np.float64).reshape(-1, 2).T
    grown_K, shrunk_K = np.exp(np.minimum(epsilon_K, 700.0)), np.exp(-epsilon_K)

    def least(hits: float) -> float:
        steep_K = (hits - delta_K) * shrunk_K
        flat_K = 1 - delta_K - grown_K * (1 - hits)
        return float(np.maximum(steep_K, flat_K).max(initial=0.0))

    return least


def delta_of_mu(mu: float, epsilon: float) -> float:
    """Delta of mu-Gaussian differential privacy at an epsilon."""
    second = math.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu))
    return max(float(ndtr(mu / 2 - epsilon / mu)) - second, 0.0)


def epsilon_of_mu(mu: float, delta: float) -> float:
    """Epsilon of mu-Gaussian differential privacy at a delta; infinite beyond `MOST_EPSILON`."""
    if mu <= _LEAST_MU or delta_of_mu(mu, 0.0) <= delta:
        return 0.0
    if mu > _MOST_MU or delta_of_mu(mu, MOST_EPSILON) > delta:
        return math.inf
    return float(brentq(lambda epsilon: delta_of_mu(mu, epsilon) - delta, 0.0, MOST_EPSILON, xtol=1e-9))


def mu_of_epsilon(epsilon: float, delta: float) -> float:
    """The largest mu that is (epsilon, delta)-differentially private; epsilon is at most `MOST_EPSILON`."""
    return float(brentq(lambda mu: delta_of_mu(mu, epsilon) - delta, _LEAST_MU, _MOST_MU, xtol=1e-12))
