"""How far a smoothed code can move when its input is changed: certificates by randomised smoothing.

h is any code of K bits; for an input x and Gaussian noise eta of deviation sigma, `c` is a code that was published
for x, and q_j(x) = P(h_j(x + eta) != c_j) is the share of votes against its bit j. A change delta of norm at most r
*flips* the bits whose share q_j(x + delta) reaches `share`: one half, where the code of x + delta is the true
majority; one half less a tolerance, where that is a majority of finitely many votes. The set of flipped bits is
F(delta).

Guarantee: with probability 1 - alpha over the votes, |F(delta)| is at most `Certificate.most_flips`, and F(delta) lies
within `Certificate.loose`, for every delta of norm at most r at once. It holds for each input by itself; M inputs hold
together with probability 1 - M alpha. `c` must not depend on the votes that certify it (`Ballot` keeps both apart).

Bit by bit (Cohen et al. 2019, Theorem 1). For any event A, the share at x + delta is at most Phi(Phi^-1(P(A)) + r /
sigma) (Neyman and Pearson). So bit j flips only if q_j >= Phi(Phi^-1(share) - r / sigma). Clopper and Pearson (1934)
bound each q_j at alpha / K. That counts all bits as if one change could flip all of them; `joint_certificate.py` does
not.

Edge cases: no radius (r = 0) leaves the bits whose majority is not told for sure; a bit that no vote opposes is held
up to the radius that the number of votes allows.

Shapes: N votes, K bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtr, ndtri

from common.hashing.joint_certificate import most_joint_flips

_CHOOSING = 4
"""One in so many votes chooses the code, and the others certify it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ballot:
    """Votes on one input's code, in two parts that share no noise.

    Attributes:
        deviation: sigma, in units of the input.
        code: c, the majority of the choosing votes, `[K]` of bool.
        expected: Share of the choosing votes against each bit, `[K]`.
        against: Which of the certifying votes stand against which bit, `[N, K]` of bool.
    """

    deviation: float
    code: NDArray[np.bool_]
    expected: NDArray[np.float64]
    against: NDArray[np.bool_]

    @classmethod
    def of(cls, votes_NK: NDArray[np.bool_], *, deviation: float) -> Ballot:
        """The ballot of votes that were drawn independently.

        Raises:
            ValueError: There are too few votes for two parts.
        """
        num_choosing = len(votes_NK) // _CHOOSING
        if num_choosing == 0:
            raise ValueError(f"{len(votes_NK)} votes cannot choose a code and certify it; draw {_CHOOSING} or more")
        choosing, certifying = votes_NK[:num_choosing], votes_NK[num_choosing:]
        code = choosing.mean(axis=0) >= 0.5
        return cls(
            deviation=deviation,
            code=code,
            expected=(choosing != code).mean(axis=0),
            against=certifying != code,
        )

    def prefix(self, bits: int) -> Ballot:
        """The same votes on the first bits alone."""
        return replace(self, code=self.code[:bits], expected=self.expected[:bits], against=self.against[:, :bits])


@dataclass(frozen=True, kw_only=True, eq=False)
class Certificate:
    """What a change within the radius can do to a code, with probability 1 - alpha over the votes.

    Attributes:
        code: The certified code, `[K]` of bool.
        loose: Bits that may flip, `[K]` of bool; all others stay.
        most_flips: How many may flip at once; at most as many as are loose.
    """

    code: NDArray[np.bool_]
    loose: NDArray[np.bool_]
    most_flips: int


def certify_bits(ballot: Ballot, *, radius: float, alpha: float, tolerance: float = 0.0) -> Certificate:
    """The certificate bit by bit.

    Args:
        ballot: The votes.
        radius: r, in units of the input; 0 or more.
        alpha: Probability that the certificate is wrong.
        tolerance: How far below one half a share may lie and still flip a bit (`tolerance_of`).
    """
    num_votes, bit_width = ballot.against.shape
    against_K = ballot.against.sum(axis=0)
    upper_K = np.where(
        against_K == num_votes, 1.0, betaincinv(against_K + 1, num_votes - against_K, 1 - alpha / bit_width)
    )
    loose = upper_K >= ndtr(ndtri(0.5 - tolerance) - radius / ballot.deviation)
    return Certificate(code=ballot.code, loose=loose, most_flips=int(loose.sum()))


def certify(ballot: Ballot, *, radius: float, alpha: float, tolerance: float = 0.0) -> Certificate:
    """The joint certificate; half of alpha says which bits are loose, the other half how many flip at once.

    Args as `certify_bits`.
    """
    bits = certify_bits(ballot, radius=radius, alpha=alpha / 2, tolerance=tolerance)
    most = most_joint_flips(
        ballot.against[:, bits.loose],
        ballot.expected[bits.loose],
        shift=radius / ballot.deviation,
        share=0.5 - tolerance,
        alpha=alpha / 2,
    )
    return Certificate(code=ballot.code, loose=bits.loose, most_flips=most)


def tolerance_of(num_votes: int, bit_width: int, *, alpha: float) -> float:
    """How far a majority of votes may stray from the true one: no bit whose share is lower is outvoted.

    Hoeffding's inequality (1963) for each of the bits at alpha / bit_width.
    """
    return float(np.sqrt(np.log(bit_width / alpha) / (2 * num_votes)))
