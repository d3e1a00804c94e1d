"""How much noise a site adds where part of it is shared with other sites and cancels in their sum.

In each local step a site i sends, in units of the noise's grid and of the sensitivity,

    m_i = G_i + s X_i + k s sum over its peers j of (+-) W_ij

G_i is the clipped sum over its sampled patients; X_i and W_ij are standard Gaussian vectors, X_i known to i alone, W_ij
to i and j alone, who add it with opposite signs. s is the *own multiplier*. A peer that is planned and not there is
replaced by one more X of the site's own. In the sum over all sites the W cancel, and s X_i is what remains.

Guarantee: against the server and any `colluding` members together, T steps of one site are a composition of T Poisson-
    sampled Gaussian mechanisms with noise multiplier `guaranteed(s)`, also where each step's model follows from all
    that was seen before. Against everyone else together it is `alone(s)`, and `guaranteed(s, colluding=c)` in between.
Unit of privacy: the patient. Neighbouring relation: add or remove one patient, of one site.

Proof. Let A be the server and t members, i a site with p peers of which at most t are in A, and h = p + 1 - t: i and
the peers outside of A. Give A more than it has: all of G_j for j other than i, each W between two peers of i, and each
W that A's members hold. What A sees of a step is then a function, fixed by what it was given, of

    m_i = G_i + s X_i + k s sum over h - 1 peers of W_ij,    and    v_j = s X_j - k s W_ij    for each of these peers.

(A graph with more edges is not better for A: it was given them. So the star around i is the worst graph.) All are
jointly Gaussian, and v_j says of W_ij what a sum with independent noise says: given v_j, k s W_ij has a mean that is
linear in v_j and the variance k^2 s^2 - k^4 s^4 / (s^2 + k^2 s^2) = s^2 k^2 / (1 + k^2). Replace m_i by the *residual*
m_i - E[noise | v] = G_i + N with

    N ~ N(0, s^2 (1 + (h - 1) k^2 / (1 + k^2)) I) = N(0, s^2 (1 + k^2 h) / (1 + k^2) I),    independent of all v_j,

a reversible change of what A sees. So the view is the v, which do not depend on G_i, and one Gaussian release of G_i
with the multiplier s sqrt((1 + k^2 h) / (1 + k^2)). Over steps all draws are fresh and independent. The model of a step
is a function of earlier residuals, of earlier v and of draws of A's own; conditioned on these, the step's residual is
the Gaussian mechanism on the Poisson sample of that step, whose noise is independent of them. That is adaptive
composition of sampled Gaussian mechanisms, which is what the accountant composes. A's members may send what they like:
it is a function of what A knows. A peer outside of A that adds another W than i (two keys, a round that it takes no
part in) only leaves more of W_ij unknown; one that is not there is replaced by an X of variance s^2 > s^2 k^2 / (1 +
k^2).

A second site's patients: the same argument for that site; a patient at two sites needs the sum of both.

The noise is discrete (`client/dp/discrete_gaussian.py`). The law of the integers (m_i, v) is a sum over all integers W
of a product of Gaussian densities. Completing the square in W leaves the joint density above, at the integer point,
times a sum over W of a Gaussian density whose deviation in each direction is at least 2^32.75 / sqrt(1 + k^2 (p + 1)):
by Poisson summation the same for every point up to a factor of 1 +- 2^-1000. So (m_i, v) has the law of a randomised
rounding of its continuous counterpart, whose covariance is at least s^2 I, as there. Beside X_i the argument uses p
draws W_ij and p draws X_j: the 2 p + 1 draws of a value in a step add (2 p + 1) (1 + exp(epsilon)) 2^-79.4 to delta.
With 12
peers, at epsilon 8:

    24,000 parameters, 100 steps        delta + 3e-13
    6,000,000 parameters, 2,000 steps   delta + 2e-9

Range: integers of one draw are below 2^37, so those of a site below (1 + 3 * 12 + 12) 2^37 < 2^43, beside a total of at
most 2^62: no sum leaves int64.

Source: correlated Gaussian noise between pairs of parties is that of GOPA (Sabater, Bellet and Ramon, Machine Learning
2022, arXiv 2006.07218), DECOR (arXiv 2405.01031) and CafCor (arXiv 2505.01874).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PairLaw:
    """The noise of a site with so many peers.

    Attributes:
        peers: Sites that it is planned to share noise with, p.
        colluding: Members t that may tell the server what they know; each member knows its own part. Of more than there
            are peers, all collude.
        factor: Size k of a shared part over the own one, a whole number, so that integers stay integers.
    """

    peers: int
    colluding: int
    factor: int

    def own(self, guaranteed: float) -> float:
        """The own multiplier s whose noise, with the shared parts, is worth `guaranteed`."""
        return guaranteed / self._worth(self.colluding)

    def guaranteed(self, own: float, *, colluding: int | None = None) -> float:
        """Noise multiplier against the server and so many members together; `self.colluding` where not given."""
        return own * self._worth(self.colluding if colluding is None else colluding)

    def alone(self, own: float, *, absent: int = 0) -> float:
        """Noise multiplier against everyone else together, where `absent` peers were replaced by draws of the own."""
        return own * math.sqrt(1 + absent)

    @property
    def growth(self) -> float:
        """Deviation of all the noise in one message over that of as much privacy by own noise: about sqrt(1 + k^2)."""
        return math.sqrt(1 + self.factor**2 * self.peers) / self._worth(self.colluding)

    def _worth(self, colluding: int) -> float:
        outside = self.peers + 1 - min(colluding, self.peers)
        square = self.factor**2
        return math.sqrt((1 + square * outside) / (1 + square))
