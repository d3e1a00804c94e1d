"""Minimum-diameter averaging (Rousseeuw 1985; El Mhamdi et al., NeurIPS 2021): the mean of the tightest S - f updates.

All sets are tried, so it is for small cohorts.

Robustness: kappa = 8 f^2 / (S - f) for f < S / 2. The chosen set M and a good set G share an update, and neither is
wider than G: means that differ in f updates of each are within 2 f / (S - f) diameters of G. A diameter, squared, is
at most 2 (S - f) times the mean squared distance of G's updates to their mean.

Shapes: T points, M sets, K updates in each.
"""

from __future__ import annotations

from torch import Tensor

from strategies.gram import Points
from strategies.interface import WeighingRule
from strategies.subsets import best_subset


class Mda(WeighingRule):
    """The mean of the set with the least diameter."""

    def least_points(self, num_byzantine: int) -> float:
        """2f + 1."""
        return 2 * num_byzantine + 1

    def kappa(self, num_points: int, num_byzantine: int) -> float | None:
        """8 f^2 / (T - f)."""
        return 8 * num_byzantine**2 / (num_points - num_byzantine)

    def weights(self, points: Points, num_byzantine: int) -> Tensor:
        """Equal on the tightest set; among equally wide ones, on the one with the least sum of squared distances."""
        distances_TT = points.between_updates

        def cost(sets_MK: Tensor) -> tuple[Tensor, Tensor]:
            within_MKK = distances_TT[sets_MK[:, :, None], sets_MK[:, None, :]]
            return within_MKK.amax((1, 2)), within_MKK.sum((1, 2))

        return best_subset(points.num_updates, points.num_updates - num_byzantine, cost)
