"""Projected gradient steps that move what a tower sees away from a code or towards it (Madry et al., arXiv 1706.06083).

Every record is moved as a batch of one, under `vmap`: where it moves depends on the record, on the model and on its own
goal, and on no other record.

The slope is made a direction by one of two rules. `sign` is the rule of the papers and the stronger attack. It is a
cliff: how many records stand beside one another changes the last bit of a slope, and the sign of a slope near 0 turns
a pixel over by two whole steps. `level` is nearly the same where slopes are large and has no cliff, so that rounding
stays rounding: under privacy the others' gradients must not move when a patient leaves.

Shapes: B records, K bits; `...` what the tower sees of one record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor
from torch.func import grad, vmap

WHITE = 255.0
_TINY = 1e-30

OutputsOf: TypeAlias = Callable[[Tensor], Tensor]
"""From what a tower sees `[B, ...]` to outputs of the hash head `[B, K]`, differentiable."""


class Region(Protocol):
    """Where records may be moved to."""

    def step(self, point: Tensor, slope: Tensor, *, share: float) -> Tensor:
        """A step along the slope, of a share of the region's size, brought back into the region."""
        ...


@dataclass(frozen=True)
class Greys:
    """No grey value moves by more than epsilon, none leaves black to white, and black background stays.

    Attributes:
        start: The pixels as they were, 0 to 255, float.
        epsilon: In grey levels.
        direction: From slopes of an image to values within -1 and 1.
    """

    start: Tensor
    epsilon: float
    direction: Callable[[Tensor], Tensor]

    def step(self, point: Tensor, slope: Tensor, *, share: float) -> Tensor:
        """See `Region`."""
        moved = point + body_of(self.start) * (share * self.epsilon) * self.direction(slope)
        nearby = torch.minimum(torch.maximum(moved, self.start - self.epsilon), self.start + self.epsilon)
        return nearby.clamp(0, WHITE)


@dataclass(frozen=True)
class Ball:
    """Computed features of one record move by a share of their own length at most.

    Attributes:
        start: The features as they were `[F]`.
        share: Of their length.
    """

    start: Tensor
    share: float

    def step(self, point: Tensor, slope: Tensor, *, share: float) -> Tensor:
        """See `Region`."""
        radius = self.share * self.start.norm()
        away = point + share * radius * slope / (slope.norm() + _TINY) - self.start
        within: Tensor = self.start + away * (radius / (away.norm() + _TINY)).clamp(max=1.0)
        return within


def sign(slope: Tensor) -> Tensor:
    """A whole step for every slope that is not 0."""
    return slope.sign()


def level(slope: Tensor) -> Tensor:
    """Nearly a whole step where a slope is larger than its record's mean one, and in proportion below."""
    return torch.tanh(slope / (slope.abs().mean() + _TINY))


def moved(
    outputs_of: OutputsOf,
    start: Tensor,
    goal_BK: Tensor,
    region_of: Callable[[Tensor], Region],
    *,
    towards: int,
    steps: int,
    beginning: Tensor | None = None,
) -> Tensor:
    """Records `[B, ...]` moved within their regions.

    Args:
        outputs_of: The attacked model.
        start: The records, float.
        goal_BK: A code, or a relaxed one, of each.
        region_of: The region of one record.
        towards: +1 to come to the code, -1 to leave it.
        steps: Of 2.5 / steps of the region's size each.
        beginning: Where the steps begin; None: at the records themselves.
    """

    def agreement(point: Tensor, goal_K: Tensor) -> Tensor:
        # tanh keeps a bit that is already far over from pulling all the way (HAG's surrogate of the Hamming distance).
        return towards * (torch.tanh(outputs_of(point.unsqueeze(0))).squeeze(0) * goal_K).sum()

    def walk(own: Tensor, point: Tensor, goal_K: Tensor) -> Tensor:
        region = region_of(own)
        for _ in range(steps):
            # Of a blank, the half that a study lacks, a tower may have no slope at all: it stays as it is.
            slope = torch.nan_to_num(grad(agreement)(point, goal_K), nan=0.0, posinf=0.0, neginf=0.0)
            point = region.step(point, slope, share=2.5 / steps)
        return point

    with torch.no_grad():
        walked: Tensor = vmap(walk)(start, start if beginning is None else beginning, goal_BK)
    return walked


def body_of(pixels: Tensor) -> Tensor:
    """1 where a pixel is not black background, 0 where it is."""
    return (pixels > 0).to(pixels.dtype)
