"""Krum (Blanchard et al., NeurIPS 2017): the update whose S - f - 2 nearest others are nearest together.

Robustness: kappa = 6 (1 + f / (S - 2f)) for S >= 2f + 3 (Allouah et al., AISTATS 2023, Proposition 4).

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
        """6 (1 + f / (T - 2f))."""
        return 6 * (1 + num_byzantine / (num_points - 2 * num_byzantine))

    def weights(self, points: Points, num_byzantine: int) -> Tensor:
        """All on the first point with the least score."""
        scores_T = krum_scores(points, num_byzantine)
        return (torch.arange(len(scores_T)) == scores_T.argmin()).double()


def krum_scores(points: Points, num_byzantine: int) -> Tensor:
    """Sum `[T]` of the squared distances of each point to its T - f - 2 nearest others."""
    distances_TT = points.between_updates
    num_nearest = len(distances_TT) - num_byzantine - 2
    return distances_TT.sort(dim=1).values[:, 1 : 1 + num_nearest].sum(1)
