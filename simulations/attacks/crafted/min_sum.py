"""Min-sum: as far from all honest sites together as the most remote honest one (Shejwalkar and Houmansadr, NDSS 2021).

Shapes: H honest sites, P parameters.
"""

from __future__ import annotations

from torch import Tensor

from simulations.attacks.crafted.deviation import Deviation
from simulations.attacks.crafted.interface import View, shortened
from simulations.attacks.interface import Attack


def min_sum(honest_HP: Tensor, view: View) -> Tensor:
    """The update furthest from the honest mean whose squared distances sum to no more than an honest site's.

    The distances' sum is `H g^2 |d|^2 + sum |c_i|^2`, as the c_i sum to 0, so the greatest step g is one root; the
    paper searches it by halves. The direction d is minus the standard deviation.
    """
    seen = Deviation.of(honest_HP)
    room = seen.distances_HH.sum(dim=1).max() - seen.squared_H.sum()
    step = (room.clamp(min=0) / (len(honest_HP) * seen.length)).sqrt()
    return shortened(seen.at(step, like=honest_HP), max_norm=view.max_norm)


ATTACK = Attack(craft=min_sum)
