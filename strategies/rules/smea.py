"""Smallest-maximum-eigenvalue averaging (Allouah et al., ICML 2023, arXiv 2302.04787).

The mean of the S - f updates whose covariance has the least top eigenvalue. All sets are tried, each by the
eigenvalues of its centred inner products, so it is exact, and for small cohorts.

Robustness: kappa = 4 f / (S - f) * (1 + f / (S - 2f))^2 for f < S / 2, even with the top eigenvalue of the good
updates' covariance in place of its trace (there, on SMEA): noise that a site adds in all directions counts once, not P
times.

Shapes: T points, M sets, K updates in each.
"""

from __future__ import annotations

import torch
from torch import Tensor

from strategies.gram import Points
from strategies.interface import WeighingRule
from strategies.subsets import best_subset


class Smea(WeighingRule):
    """The mean of the set that varies least in its worst direction."""

    def least_points(self, num_byzantine: int) -> float:
        """2f + 1."""
        return 2 * num_byzantine + 1

    def kappa(self, num_points: int, num_byzantine: int) -> float | None:
        """4 f / (T - f) * (1 + f / (T - 2f))^2."""
        share = num_byzantine / (num_points - 2 * num_byzantine)
        return 4 * num_byzantine / (num_points - num_byzantine) * (1 + share) ** 2

    def weights(self, points: Points, num_byzantine: int) -> Tensor:
        """Equal on the best set."""
        gram_TT = points.gram_NN[: points.num_updates, : points.num_updates]

        def cost(sets_MK: Tensor) -> tuple[Tensor]:
            gram_MKK = gram_TT[sets_MK[:, :, None], sets_MK[:, None, :]]
            values_MK: Tensor = torch.linalg.eigvalsh(_centred(gram_MKK))
            return (values_MK[:, -1],)

        return best_subset(points.num_updates, points.num_updates - num_byzantine, cost)


def _centred(gram_MKK: Tensor) -> Tensor:
    """Inner products about each set's own mean."""
    return (
        gram_MKK - gram_MKK.mean(1, keepdim=True) - gram_MKK.mean(2, keepdim=True) + gram_MKK.mean((1, 2), keepdim=True)
    )
