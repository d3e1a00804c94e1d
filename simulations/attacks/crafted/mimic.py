"""Mimic: vote with one honest site, so that its studies count more than the others' (Karimireddy et al., ICLR 2022).

Nothing of it is an outlier: it is what makes rules fail that choose among sites whose data differ.

Shapes: H honest sites, P parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulations.attacks.crafted.interface import View
from simulations.attacks.interface import Attack


def mimic(honest_HP: Tensor, view: View) -> Tensor:  # noqa: ARG001 - every crafted update takes both
    """The update of the honest site that lies furthest out along the direction in which they differ most.

    The direction is the first principal one of the round's updates (the paper tracks it over rounds); the sites'
    places along it are the first eigenvector of their centred H x H Gram matrix, so nothing of size P x P is made.
    """
    centred_HP = honest_HP.double() - honest_HP.double().mean(dim=0)
    _, vectors_HH = torch.linalg.eigh(centred_HP @ centred_HP.T)
    return honest_HP[int(vectors_HH[:, -1].abs().argmax())].clone()


ATTACK = Attack(craft=mimic)
