"""Krum (Blanchard et al., NeurIPS 2017): the update whose S - f - 2 nearest others are nearest together.

Robustness: kappa = 6 (S - f) / (S - 2f - 1) for S >= 2f + 3, by the proof of Allouah et al. (AISTATS 2023, Proposition
4) with S - f - 2 neighbours in place of their S - f: at least S - 2f - 1 of these and the choice itself are good.

Shapes: T points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from strategies.gram import Points
from strategies.interface import WeighingRule


class Krum(WeighingRule):
    """The one update amid the closest company."""

    def least_points(self, num_byzantine: int) -> float:
        """2f + 3."""
        return 2 * num_byzantine + 3

    def kappa(self, num_points: int, num_byzantine: int) -> float | None:
        """6 (T - f) / (T - 2f - 1)."""
        return 6 * (num_points - num_byzantine) / (num_points - 2 * num_byzantine - 1)

    def weights(self, points: Points, num_byzantine: int) -> Tensor:
        """All on the first of the order."""
        weights_T = torch.zeros(points.num_updates, dtype=torch.float64)
        weights_T[krum_order(points.between_updates, num_byzantine)[0]] = 1
        return weights_T


def krum_order(distances_TT: Tensor, num_byzantine: int) -> Tensor:
    """The points `[T]` from the best score to the worst.

    The score is the sum of the squared distances to the T - f - 2 nearest others, at least to one. Two points that are
    each other's only neighbour share it: then the one that is nearer to all others comes first, so that the order of
    the sites decides nothing.
    """
    num_nearest = max(1, len(distances_TT) - num_byzantine - 2)
    scores_T = distances_TT.sort(dim=1).values[:, 1 : 1 + num_nearest].sum(1)
    by_total_T = distances_TT.sum(1).argsort(stable=True)
    return by_total_T[scores_T[by_total_T].argsort(stable=True)]
