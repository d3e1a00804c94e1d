"""Min-max: as far out as the two honest sites that are furthest apart (Shejwalkar and Houmansadr, NDSS 2021).

Shapes: H honest sites, P parameters.
"""

from __future__ import annotations

from torch import Tensor

from simulations.attacks.crafted.deviation import Deviation
from simulations.attacks.crafted.interface import View, shortened
from simulations.attacks.interface import Attack


def min_max(honest_HP: Tensor, view: View) -> Tensor:
    """The update furthest from the honest mean that is no further from any honest site than two of those are.

    The step g is the greatest with `g^2 |d|^2 - 2 g d.c_i + |c_i|^2 <= D^2` for every i; the paper's search by halves
    ends at the same least root of H quadratics. The direction d is minus the standard deviation.
    """
    seen = Deviation.of(honest_HP)
    room_H = seen.distances_HH.max() - seen.squared_H
    steps_H = (seen.along_H + (seen.along_H.square() + seen.length * room_H).clamp(min=0).sqrt()) / seen.length
    return shortened(seen.at(steps_H.min(), like=honest_HP), max_norm=view.max_norm)


ATTACK = Attack(craft=min_max)
