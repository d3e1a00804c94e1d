"""Multi-Krum (Blanchard et al., NeurIPS 2017): the mean of the S - f updates with the best Krum scores.

Robustness: it bears f bad sites where Krum does; no kappa is proven that is better than Krum's own order.

Shapes: T points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from strategies.gram import Points
from strategies.interface import WeighingRule
from strategies.rules.krum import krum_order


class MultiKrum(WeighingRule):
    """The mean of all but the f updates in the loosest company."""

    def least_points(self, num_byzantine: int) -> float:
        """2f + 3."""
        return 2 * num_byzantine + 3

    def weights(self, points: Points, num_byzantine: int) -> Tensor:
        """Equal on the first T - f of Krum's order."""
        num_kept = points.num_updates - num_byzantine
        weights_T = torch.zeros(points.num_updates, dtype=torch.float64)
        weights_T[krum_order(points.between_updates, num_byzantine)[:num_kept]] = 1 / num_kept
        return weights_T
