"""A little is enough: stay so near the mean that some honest site stands further out (Baruch et al., NeurIPS 2019).

Shapes: H honest sites, P parameters.
"""

from __future__ import annotations

from statistics import NormalDist

from torch import Tensor

from simulations.attacks.crafted.interface import View, shortened
from simulations.attacks.interface import Attack

SMALL_COHORT_DEVIATIONS = 1.5
"""z where the formula gives none above 0, which it does in small cohorts; the default of the authors' own code."""


def alie(honest_HP: Tensor, view: View) -> Tensor:
    """The honest mean less z standard deviations, coordinate by coordinate.

    The attackers lack `s` sites of a majority. With z such that `s` of the honest sites lie beyond it (if a coordinate
    were normal), a majority is no nearer to the mean than the attackers are.
    """
    mean_P, spread_P = honest_HP.mean(dim=0), honest_HP.std(dim=0, correction=0)
    return shortened(mean_P - deviations(view) * spread_P, max_norm=view.max_norm)


def deviations(view: View) -> float:
    """z: the normal quantile of `(n - f - s) / (n - f)` with `s = floor(n / 2 + 1) - f` (algorithm 3 of the paper)."""
    num_honest = view.num_sites - view.num_attackers
    supporters = view.num_sites // 2 + 1 - view.num_attackers
    # At or below a half the quantile is not above 0; at 1 the attackers are a majority and need nobody.
    if not num_honest < 2 * (num_honest - supporters) < 2 * num_honest:
        return SMALL_COHORT_DEVIATIONS
    return NormalDist().inv_cdf((num_honest - supporters) / num_honest)


ATTACK = Attack(craft=alie)
