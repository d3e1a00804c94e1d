"""How little noise there can be in a Gaussian mechanism, from the scores of canaries that were in and that were out.

Agrawal et al. (2026, arXiv 2606.12733) keep a canary's score, where others keep one bit of it. Of that paper the
abstract and the first page were read, not its confidence bound; the one here follows from the law of our own step.

Setting. A canary adds one unit, the sensitivity, in a direction of its own, orthogonal to the other canaries, to each
of T sums that it joins, each with probability q. The score is the sum over steps of the inner product with that
direction. With noise of multiplier s, the scores are independent, N(0, T s^2) for a canary that is out, and for one
that is in of mean q T and variance T s^2 + T q (1 - q).

Bound. With D the difference of the two means and S the standard deviation of the scores that are out, D / S is

    a (Z + ncp) / sqrt(V / df),    a = sqrt((1 + q (1 - q) / s^2) / n_in + 1 / n_out),    ncp = q sqrt(T) / (s a),

with Z standard normal and V an independent chi-square of df = n_out - 1: a noncentral t. It falls in s. So every
s at which the observed D / S has a probability below 1 - confidence is refuted, and with it all larger ones: the noise
is less than the least of these. At q = 1 the law is exact; at q < 1 the mean of the scores that are in is normal by
the central limit theorem alone, over T n_in coins. A canary that adds less than its unit makes D smaller and the bound
weaker. The bound is one of the Gaussian mechanism: whether the noise has that form is asked by the check of its
distribution.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

MOST_NOISE = 1e4
LEAST_NOISE = 1e-3
"""Noise multipliers looked at. Where all from the least one on are refuted there is none."""

_FEW = 10
_NODES, _REACH = 2001, 12.0
"""Of the integral over the deviation: points, and how many of its own deviations they reach to either side."""
_HALVINGS = 24


def most_noise(
    inside: NDArray[np.float64],
    outside: NDArray[np.float64],
    *,
    sampling_probability: float,
    steps: int,
    confidence: float,
) -> float:
    """A noise multiplier that the true one is below, with a confidence; infinite where none is refuted.

    Args:
        inside: Scores of the canaries that were in, over the sensitivity.
        outside: Of those that were out.
        sampling_probability: q.
        steps: T.
        confidence: Of the bound, below 1.

    Raises:
        ValueError: There are fewer than ten of either.
    """
    if min(len(inside), len(outside)) < _FEW:
        raise ValueError(f"{len(inside)} canaries in and {len(outside)} out: a bound needs {_FEW} of each")
    spread = float(outside.std(ddof=1))
    difference = float(inside.mean() - outside.mean())
    if difference <= 0:
        return math.inf
    if spread == 0:
        return 0.0

    def chance(noise: float) -> float:
        extra = sampling_probability * (1 - sampling_probability) / noise**2
        size = math.sqrt((1 + extra) / len(inside) + 1 / len(outside))
        centre = sampling_probability * math.sqrt(steps) / (noise * size)
        return noncentral_t_tail(difference / spread / size, degrees=len(outside) - 1, centre=centre)

    if chance(MOST_NOISE) > 1 - confidence:
        return math.inf
    if chance(LEAST_NOISE) <= 1 - confidence:
        return 0.0
    low, high = LEAST_NOISE, MOST_NOISE
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if chance(middle) <= 1 - confidence else (middle, high)
    return high


def noncentral_t_tail(value: float, *, degrees: int, centre: float) -> float:
    """Probability that a noncentral t is at least a value: that of (Z + centre) / W, integrated over W.

    W is a chi over the root of its degrees of freedom. SciPy's own series does not converge for tens of thousands of
    degrees.

    Args:
        value: At or above 0.
        degrees: Of freedom, nine or more.
        centre: Noncentrality.
    """
    reach = _REACH / math.sqrt(2 * degrees)
    w = np.linspace(max(1 - reach, 1e-9), 1 + reach, _NODES)
    log_density = (degrees - 1) * np.log(w) - degrees * w**2 / 2
    density = np.exp(log_density - log_density.max())
    return float((density * ndtr(centre - value * w)).sum() / density.sum())
