"""How many bits of a smoothed code one change of the input can flip together; terms are those of `certificate.py`.

A change that flips one bit spends what it would need to flip another, unless the noise flips both together. The votes
tell which do. The bound is on the *number* of bits f_S = |{j in S: h_j(x + eta) != c_j}|, for the one set S that the
worst change flips. Let |S| = k, s = r / sigma, and m and v the mean and variance of f_S at x.

1. Each bit of S has a share of at least `share` at x + delta, so E f_S(x + delta) >= k share.
2. The law of x + delta + eta has the density L = exp(s g - s^2 / 2), g ~ N(0, 1), over that of x + eta; a shorter
   change does less. With z = f_S - m: E z = 0, E z^2 = v, z <= Z, so for every a and every b > 0

       E f_S(x + delta) - m = E L z = E ((L - a) z - b z^2) + b v <= A + b v,  A = E sup_{z <= Z} ((L - a) z - b z^2),

   in closed form. With Z far away the best a and b give sqrt((e^{s^2} - 1) v), the bound of Chapman and Robbins (1951).
   Z = k (1 - p) with p = Phi(Phi^-1(share) - s): by Neyman and Pearson no bit of S has a share below p at x.
3. Hence sum over S of (share - q_j) <= A + b v. Left stands what S needs, right what a change has: for independent bits
   v grows as k, not as k^2, and few bits can be flipped together.
4. S is not known, but *fixed*: it follows from h, x and c, not from the certifying votes. So nothing need hold for all
   sets at once, only two scalars of that one are to be bounded, each at alpha / 2; with l = ln(2 / alpha), n votes,
   ^ for means over them, e the share that the choosing votes expect, and B = sum over S of max(e_j, 1 - e_j):

       m (1 - l / 3n) <= m^ + sqrt(2 v l / n)      Bernstein's lower tail, for f_S >= 0 (Boucheron et al. 2013, 2.8),
       sqrt v <= sqrt(w^ + rho^2) + rho            for w = E (f_S - sum e_j)^2 >= v, a mean over [0, B^2], by Chernoff's
                                                   bound and kl(p, q) >= (q - p)^2 / 2q; rho = B sqrt(l / 2n).
5. All is now linear or quadratic in the indicator y of S: need . y <= A + y' V y with known need and V. For bits
   y' V y = d . y - y' (diag(d) - V) y; with diag(d) >= V the set is convex over [0, 1]^K, and by duality any multiplier
   and any point give an upper bound on |y|, by the tangent. So an optimiser that did not converge makes no bound wrong.
   A grows with k: the bound is put in for k until it no longer falls.

Shapes: N votes, K loose bits, T multipliers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr, ndtri

Vector = NDArray[np.float64]

_STEPS = 120
_MULTIPLIERS = np.geomspace(0.05, 30.0, 28)
_SCALES = np.geomspace(0.35, 2.0, 7)
"""Of b, around the best one without the bound Z."""
_OFFSETS = np.linspace(0.0, 1.0, 21)
"""Values of a: below 1, as the cut of z takes from the mean of L."""


def most_joint_flips(
    against_NK: NDArray[np.bool_], expected_K: Vector, *, shift: float, share: float, alpha: float
) -> int:
    """Most bits that flip together; with probability 1 - alpha over the votes it is not too low.

    Args:
        against_NK: Certifying votes against each loose bit.
        expected_K: Share of the choosing votes against each; they only make the bound tight or loose.
        shift: s, radius over deviation.
        share: Share of the votes at which a bit counts as flipped; above 0, at most one half.
        alpha: Probability that the bound is too low.
    """
    num_votes, most = len(against_NK), len(expected_K)
    if most == 0:
        return 0
    slack = math.log(2 / alpha) / num_votes
    if slack >= 1:
        return most
    problem = _Problem.of(against_NK, expected_K, share=share, slack=slack)
    # No bit of S has a lower share at x, so the count is never further above its mean than this for each bit.
    reach = 1 - float(ndtr(ndtri(share) - shift))
    while True:
        bound = min((problem.most(shift, reach=reach * most, scale=scale) for scale in _SCALES), default=most)
        # A hair above a whole number is rounding.
        fewer = max(0, math.floor(bound + 1e-6))
        if fewer >= most:
            return most
        most = fewer
        if most == 0:
            return 0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Problem:
    """Step 4: what the flipped set needs, and the quadratic form that bounds the variance of its count.

    Attributes:
        need_K: `share` less the share at x, from above corrected for Bernstein's factor.
        variance_KK: v of a set is at most y' V y.
        majorant_K: d, with diag(d) >= V.
        mean_slack: sqrt(2 l / n) over Bernstein's factor; times sqrt v it is the error of the mean.
    """

    need_K: Vector
    variance_KK: Vector
    majorant_K: Vector
    mean_slack: float

    @classmethod
    def of(cls, against_NK: NDArray[np.bool_], expected_K: Vector, *, share: float, slack: float) -> _Problem:
        factor = 1 - slack / 3
        votes = against_NK.astype(np.float64)
        away_NK = votes - expected_K
        second_KK = away_NK.T @ away_NK / len(votes)
        widest_K = np.maximum(expected_K, 1 - expected_K)
        rho_KK = slack / 2 * np.outer(widest_K, widest_K)
        # (sqrt(w + rho^2) + rho)^2 <= (1 + u)(w + rho^2) + (1 + 1 / u) rho^2 for every u > 0.
        size = math.sqrt(second_KK.sum() / max(rho_KK.sum(), 1e-12) + 1)
        u = 1 / size
        variance_KK = (1 + u) * (second_KK + rho_KK) + (1 + 1 / u) * rho_KK
        return cls(
            need_K=share - votes.mean(axis=0) / factor,
            variance_KK=variance_KK,
            majorant_K=_majorant(variance_KK),
            mean_slack=math.sqrt(2 * slack) / factor,
        )

    def most(self, shift: float, *, reach: float, scale: float) -> float:
        """Step 5 for one b: an upper bound on the flips of any set of at most the size that `reach` stands for."""
        guess = self._usual_deviation()
        free = math.sqrt(math.expm1(min(shift * shift, 700.0)))
        curb = scale * max(free, 1e-6) / (2 * guess)
        offset = _gain_without_variance(shift, reach=reach, curb=curb)
        # sqrt v <= guess / 2 + v / (2 guess): the error of the mean joins both sides of the bound.
        offset += self.mean_slack * guess / 2
        curb += self.mean_slack / (2 * guess)
        return _most_bits(
            price_K=self.need_K - curb * self.majorant_K,
            saving_KK=curb * (np.diag(self.majorant_K) - self.variance_KK),
            budget=offset,
        )

    def _usual_deviation(self) -> float:
        """Deviation of the count of the half that flips most easily: any positive value is sound."""
        easiest = np.argsort(self.need_K)[: max(1, len(self.need_K) // 2)]
        return math.sqrt(max(float(self.variance_KK[np.ix_(easiest, easiest)].sum()), 1e-9))


def _gain_without_variance(shift: float, *, reach: float, curb: float) -> float:
    """A of step 2, for the best of a few a: E sup over z <= Z of (L - a) z - b z^2, with Z = reach and b = curb."""
    if shift == 0:
        return 0.0
    a = _OFFSETS
    # Below `turn` the best z is (L - a) / 2b, beyond it Z. E L^2 and E L up to a point are those of shifted normals.
    turn = (np.log(a + 2 * curb * reach) + shift * shift / 2) / shift
    below, once, twice = ndtr(turn), ndtr(turn - shift), log_ndtr(turn - 2 * shift)
    second = np.exp(shift * shift + twice)
    inner = (second - 2 * a * once + a * a * below) / (4 * curb)
    outer = reach * ((1 - once) - a * (1 - below)) - curb * reach * reach * (1 - below)
    return float(np.min(inner + outer))


def _majorant(matrix_KK: Vector) -> Vector:
    """A vector d with diag(d) - matrix positive semidefinite: its diagonal, times the eigenvalue that this asks."""
    diagonal_K = np.maximum(np.diag(matrix_KK), 1e-12)
    scale_K = np.sqrt(diagonal_K)
    largest = float(np.linalg.eigvalsh(matrix_KK / np.outer(scale_K, scale_K))[-1])
    return largest * (1 + 1e-9) * diagonal_K


def _most_bits(*, price_K: Vector, saving_KK: Vector, budget: float) -> float:
    """An upper bound on the sum of y in [0, 1]^K with price . y + y' saving y <= budget, saving positive semidefinite.

    For a multiplier t >= 0 the sum is at most max over y of sum y - t (price . y + y' saving y - budget), a concave
    function of y, which lies below its tangent at any point. Projected gradient steps (Nesterov 1983) find good points.
    """
    multiplier_T1 = (_MULTIPLIERS / max(float(np.abs(price_K).mean()), 1e-9))[:, None]
    linear_TK = 1 - multiplier_T1 * price_K
    steepest_T1 = 2 * multiplier_T1 * max(float(np.abs(saving_KK).sum(axis=1).max()), 1e-12)
    y_TK = np.full(linear_TK.shape, 0.5)
    ahead_TK, momentum = y_TK, 1.0
    for _ in range(_STEPS):
        slope_TK = linear_TK - 2 * multiplier_T1 * (ahead_TK @ saving_KK)
        moved_TK = np.clip(ahead_TK + slope_TK / steepest_T1, 0.0, 1.0)
        following = (1 + math.sqrt(1 + 4 * momentum * momentum)) / 2
        ahead_TK = moved_TK + (momentum - 1) / following * (moved_TK - y_TK)
        y_TK, momentum = moved_TK, following
    quadratic_TK = multiplier_T1 * (y_TK @ saving_KK)
    slope_TK = linear_TK - 2 * quadratic_TK
    value_T = (y_TK * (linear_TK - quadratic_TK)).sum(axis=1) + multiplier_T1[:, 0] * budget
    tangent_T = np.where(slope_TK > 0, slope_TK * (1 - y_TK), -slope_TK * y_TK).sum(axis=1)
    return float(min((value_T + tangent_T).min(), len(price_K)))
