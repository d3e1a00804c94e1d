"""Noise: a random direction at the greatest norm that admission lets pass (after Blanchard et al., NeurIPS 2017).

Shapes: H honest sites, P parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulations.attacks.crafted.interface import BELOW_BOUND, View
from simulations.attacks.interface import Attack


def gaussian(honest_HP: Tensor, view: View) -> Tensor:
    """Normal noise of a norm just below the bound, drawn anew in each round and shared by the round's attackers."""
    noise_P = torch.randn(honest_HP.shape[1], generator=view.generator, dtype=torch.float64)
    length = BELOW_BOUND * view.max_norm
    return (noise_P * (length / float(noise_P.norm()))).to(honest_HP)


ATTACK = Attack(craft=gaussian)
