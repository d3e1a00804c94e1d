"""Nearest-neighbour mixing (Allouah et al., AISTATS 2023): each update becomes the mean of its S - f nearest.

Robustness: before a rule with kappa, `8 f / (S - f) * (kappa + 1)` (there, Lemma 1): of order f / S, the best there is.

Shapes: T points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from strategies.gram import Points
from strategies.interface import Stage


class Nnm(Stage):
    """Mixes each point with its nearest."""

    cancels = True

    def kappa(self, kappa: float | None, num_points: int, num_byzantine: int) -> float | None:
        """8 f / (T - f) * (kappa + 1)."""
        return None if kappa is None else 8 * num_byzantine / (num_points - num_byzantine) * (kappa + 1)

    def mixing(self, points: Points, num_byzantine: int, *, seed: int) -> Tensor:  # noqa: ARG002 - nothing is drawn
        """Each row is the mean of the T - f points nearest to its own, which is one of them."""
        distances_TT = points.between_updates
        num_nearest = len(distances_TT) - num_byzantine
        nearest_TK = distances_TT.argsort(dim=1, stable=True)[:, :num_nearest]
        return torch.zeros_like(distances_TT).scatter_(1, nearest_TK, 1 / num_nearest)
