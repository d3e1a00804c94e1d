"""Norm clipping (Sun et al., arXiv 1911.07963): no update is longer than the median of them.

Robustness: one site's pull is bounded whatever rule follows; no kappa is proven, since bad sites may share the norm of
good ones.

Shapes: T points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from strategies.gram import Points
from strategies.interface import Stage


class Clipping(Stage):
    """Clips to the median norm."""

    def mixing(self, points: Points, num_byzantine: int, *, seed: int) -> Tensor:  # noqa: ARG002 - nothing is drawn
        """A factor of at most 1 for each update."""
        norms_T = points.squared_norms.sqrt()
        return shortened(norms_T, to=norms_T.quantile(0.5))


def shortened(norms_T: Tensor, *, to: Tensor) -> Tensor:
    """The mixing that brings every update down to a norm, and lengthens none."""
    return torch.where(norms_T > to, to / norms_T, 1.0).diag()
