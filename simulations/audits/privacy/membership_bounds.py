"""What (epsilon, delta) allows of telling two worlds apart, and the epsilon that a success of telling them shows.

A mechanism is (epsilon, delta)-differentially private if and only if, of every test of one world against the other, the
misses at a rate alpha of false alarms are at least

    f(alpha) = max(0, 1 - delta - e^epsilon alpha, e^-epsilon (1 - delta - alpha))

(Wasserman and Zhou, JASA 105, 2010; Kairouz, Oh and Viswanath, arXiv 1311.0776; Dong, Roth and Su, arXiv 1905.02383).
So a test's advantage, detections less false alarms, is at most

    (e^epsilon - 1 + 2 delta) / (e^epsilon + 1),

and the area under its curve is at most one less the integral of f,

    1 - (1 - delta)^2 / (1 + e^epsilon),

f being its own inverse, with its kink at (1 - delta) / (1 + e^epsilon). Both hold too where worlds are mixtures, as
when patients are drawn at random: what is indistinguishable stays so when mixed with equal weights.
"""

from __future__ import annotations

import math

from common.fairness.intervals import Interval

CONFIDENCE = 0.975
"""Of a lower bound from the lower end of a two-sided 95% interval."""


def advantage_allowed(epsilon: float, delta: float) -> float:
    """The greatest advantage of any test, 0 to 1."""
    return min(math.tanh(epsilon / 2) + delta * (1 - math.tanh(epsilon / 2)), 1.0)


def area_allowed(epsilon: float, delta: float) -> float:
    """The greatest area under the curve of any test, 0.5 to 1."""
    kept = (1 - math.tanh(epsilon / 2)) / 2  # 1 / (1 + e^epsilon), which does not overflow
    return 1 - (1 - delta) ** 2 * kept


def epsilon_shown(area: Interval, delta: float) -> float:
    """The least epsilon at which any test could have an area as large as the lower end of an interval; 0 at chance.

    Args:
        area: Interval of a test's area.
        delta: At which epsilon is stated.
    """
    missed = 1 - area.low
    if missed <= 0:
        return math.inf
    ratio = (1 - delta) ** 2 / missed - 1
    return max(math.log(ratio), 0.0) if ratio > 0 else 0.0
