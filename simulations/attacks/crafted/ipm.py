"""Inner product manipulation: the honest mean, turned around and made longer (Xie, Koyejo and Gupta, UAI 2020).

Shapes: H honest sites, P parameters.
"""

from __future__ import annotations

from torch import Tensor

from simulations.attacks.crafted.interface import View, shortened
from simulations.attacks.interface import Attack


def ipm(honest_HP: Tensor, view: View) -> Tensor:
    """Minus `strength` times the honest mean.

    The paper shows that a small strength passes rules that look at distances and a large one steers the mean. This one
    is `(n + H) / f`: with it the mean over all n sites is exactly minus the honest mean, where the bound allows.
    """
    strength = (view.num_sites + len(honest_HP)) / max(view.num_attackers, 1)
    return shortened(-strength * honest_HP.mean(dim=0), max_norm=view.max_norm)


ATTACK = Attack(craft=ipm)
