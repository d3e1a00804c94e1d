"""How far an update can leave the honest mean along a direction: what min-max and min-sum share.

With c_i the honest updates less their mean, d the direction and g the step, an attacker's squared distance to site i
is `g^2 |d|^2 - 2 g d.c_i + |c_i|^2`: everything follows from H products with d and the H x H Gram matrix.

Shapes: H honest sites, P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Deviation:
    """A cohort seen from its mean, along the direction against each coordinate's standard deviation.

    That direction is Shejwalkar and Houmansadr's "inverse standard deviation", which they find strongest most often.

    Attributes:
        mean_P: Honest mean, float64.
        direction_P: Minus the standard deviation of each coordinate.
        gram_HH: Products of the honest updates less their mean.
        along_H: Their products with the direction.
    """

    mean_P: Tensor
    direction_P: Tensor
    gram_HH: Tensor
    along_H: Tensor

    @classmethod
    def of(cls, honest_HP: Tensor) -> Deviation:
        """The deviation of a cohort."""
        mean_P = honest_HP.double().mean(dim=0)
        centred_HP = honest_HP.double() - mean_P
        direction_P = -centred_HP.square().mean(dim=0).sqrt()
        return cls(mean_P, direction_P, centred_HP @ centred_HP.T, centred_HP @ direction_P)

    @property
    def squared_H(self) -> Tensor:
        """Squared distance of each honest update to the mean."""
        return self.gram_HH.diagonal()

    @property
    def distances_HH(self) -> Tensor:
        """Squared distances between honest updates."""
        return (self.squared_H[:, None] + self.squared_H[None, :] - 2 * self.gram_HH).clamp(min=0)

    @property
    def length(self) -> Tensor:
        """Squared length of the direction."""
        return self.direction_P.square().sum()

    def at(self, step: Tensor, like: Tensor) -> Tensor:
        """The update at a step along the direction, in the type of another; the mean where there is no direction."""
        return (self.mean_P + torch.nan_to_num(step, nan=0.0, posinf=0.0) * self.direction_P).to(like)
