"""How a patient's gradient is bounded: one norm over all parameters, or an equal share of it for each.

Sensitivity of the clipped sum: `clip_norm`, under adding or removing one patient, for either rule.

In floating point a sum of clipped gradients moves by a little more than the clip when a patient leaves, because the
other terms are then rounded otherwise (Casacuberta et al., CCS 2022, arXiv 2207.10635). What is done about it:

1. A norm is that of the very numbers that are added, or an upper bound of it, to a relative 1e-6.
2. The clip is made at `clip_norm * (1 - CLIP_SLACK)`, which covers the error of the norm and of the scaling.
3. A chunk of patients is summed in float32, the chunks in float64, so that the error does not grow with the sample: of
   order chunk size times 2^-24 of the clip for each chunk.
4. Altogether the sum keeps to `clip_norm * (1 + ROUNDING_MARGIN)`, which the tests probe, and the noise's deviation is
   the noise multiplier times that. So the stated multiplier holds for the bound that the sum keeps in floating point,
   not only for the one that it keeps in exact arithmetic.

Shapes: L trained parameters, G patients of a chunk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from common.config.registry import Registry

ROUNDING_MARGIN = 1e-4
"""Share of the clip norm by which rounding may move the sum beyond it."""

CLIP_SLACK = 2e-6
"""Share of the clip norm that is left to the rounding of norms and scales."""


class Clipping(Protocol):
    """A rule that bounds one patient's gradient by `clip_norm`."""

    @property
    def clip_norm(self) -> float:
        """Bound C on a patient's whole gradient."""
        ...

    def scales(self, squares_LG: Tensor) -> Tensor:
        """Factors `[L, G]`, at most 1, for squared norms of each parameter's gradient by patient.

        A patient whose norm is not finite gets 0.
        """
        ...


class ClippingFactory(Protocol):
    """Builds a rule."""

    def __call__(self, clip_norm: float) -> Clipping:
        """The rule at one bound."""
        ...


@dataclass(frozen=True)
class FlatClipping:
    """The gradient over all parameters is scaled to at most C (Abadi et al., arXiv 1607.00133)."""

    clip_norm: float

    def scales(self, squares_LG: Tensor) -> Tensor:
        """See `Clipping`."""
        return _scale(squares_LG.double().sum(dim=0), self.clip_norm).expand_as(squares_LG)


@dataclass(frozen=True)
class PerLayerClipping:
    """Each of L parameters' gradients is scaled to at most C / sqrt(L), so that together they keep to C.

    McMahan et al. (arXiv 1710.06963). Small parameters are heard beside large ones.
    """

    clip_norm: float

    def scales(self, squares_LG: Tensor) -> Tensor:
        """See `Clipping`."""
        scales_LG = _scale(squares_LG.double(), self.clip_norm / math.sqrt(len(squares_LG)))
        return torch.where(squares_LG.isfinite().all(dim=0), scales_LG, 0.0)


CLIPPINGS: Registry[ClippingFactory] = Registry(
    "privacy.clipping",
    {"flat": "client.dp.clipping:FlatClipping", "per_layer": "client.dp.clipping:PerLayerClipping"},
)


def _scale(squares: Tensor, bound: float) -> Tensor:
    return torch.where(squares.isfinite(), (bound * (1 - CLIP_SLACK) / squares.sqrt()).clamp(max=1.0), 0.0)
