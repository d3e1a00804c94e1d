"""Adaptive robust clipping (Allouah et al., ICLR 2025, arXiv 2405.14432): the longest updates are shortened.

The floor(2 f / S * (S - f)) longest become as long as the longest of the others. Norms are taken about the origin:
what a round can do is bounded where one site's update is far longer than the rest.

Robustness: behind it a rule keeps its kappa but for 2 f / (S - 2f) (there, Theorem on ARC).

Shapes: T points.
"""

from __future__ import annotations

import math

from torch import Tensor

from strategies.gram import Points
from strategies.interface import Stage
from strategies.stages.clipping import shortened


class Arc(Stage):
    """Clips to a norm that follows the updates."""

    def kappa(self, kappa: float | None, num_points: int, num_byzantine: int) -> float | None:
        """Kappa + 2 f / (T - 2f)."""
        return None if kappa is None else kappa + 2 * num_byzantine / (num_points - 2 * num_byzantine)

    def mixing(self, points: Points, num_byzantine: int, *, seed: int) -> Tensor:  # noqa: ARG002 - nothing is drawn
        """A factor of at most 1 for each update."""
        num_points = points.num_updates
        num_clipped = math.floor(2 * num_byzantine / num_points * (num_points - num_byzantine))
        norms_T = points.squared_norms.sqrt()
        return shortened(norms_T, to=norms_T.sort().values[num_points - num_clipped - 1])
