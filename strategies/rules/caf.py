"""Covariance-bound-agnostic filter (Allouah et al., ICML 2025, arXiv 2505.01874).

Every update starts with weight 1 and loses weight by how far it lies out along the direction in which the weighted
updates vary most, until a weight of S - 2f is left. The mean of the step with the least top eigenvalue is the result.
The top direction comes from the exact eigenvectors of the S x S inner products, not from a power iteration.

Robustness: kappa of order f / S, with the top eigenvalue of the good updates' covariance in place of its trace: noise
that a site adds in all directions counts once, not P times. No constant is claimed here.

Shapes: T points.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from strategies.gram import Points
from strategies.interface import WeighingRule

NEGLIGIBLE = 1e-9
"""Weight that counts as none: what rounding leaves of an update as far out as the farthest."""


class Caf(WeighingRule):
    """The mean of what is left when the worst direction is thinned out again and again."""

    cancels = True

    def least_points(self, num_byzantine: int) -> float:
        """2f + 1."""
        return 2 * num_byzantine + 1

    def weights(self, points: Points, num_byzantine: int) -> Tensor:
        """The weights of the step that varied least in its worst direction."""
        gram_TT = points.gram_NN[: points.num_updates, : points.num_updates]
        left_T = torch.ones(points.num_updates, dtype=torch.float64)
        best_T, least = left_T, math.inf
        # A state whose weight is spent is not judged: bad updates alone could be all that is left of it.
        while left_T.sum() > points.num_updates - 2 * num_byzantine:
            spread, outlying_T = _worst_direction(gram_TT, left_T)
            if spread < least:
                least, best_T = spread, left_T
            most = outlying_T[left_T > 0].amax()
            if most <= 0:
                break
            # The farthest loses all its weight, so the loop ends.
            left_T = left_T * (1 - outlying_T / most)
            left_T[left_T < NEGLIGIBLE] = 0
        return best_T / best_T.sum()


def _worst_direction(gram_TT: Tensor, left_T: Tensor) -> tuple[float, Tensor]:
    """The top eigenvalue of the weighted covariance, and each point's squared distance `[T]` from the mean along it."""
    share_T = left_T / left_T.sum()
    to_mean_T = gram_TT @ share_T
    centred_TT = gram_TT - to_mean_T[:, None] - to_mean_T[None, :] + share_T @ to_mean_T
    roots_T = share_T.sqrt()
    values, vectors = torch.linalg.eigh(roots_T[:, None] * centred_TT * roots_T[None, :])
    spread = float(values[-1])
    if spread <= 0:
        return 0.0, torch.zeros_like(share_T)
    return spread, (centred_TT @ (roots_T * vectors[:, -1])).square() / spread
