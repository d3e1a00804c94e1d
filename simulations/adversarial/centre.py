"""The centre attack: an image leaves the centre of what answers it (Wang, Zhu, Zhang, Zhao, Wu: CgAT, WWW 2023)."""

from __future__ import annotations

from torch import Tensor

from simulations.adversarial.interface import Goal, Search, signs


def centre(search: Search) -> Goal:
    """Away from the code that is nearest to all answers and farthest from all else, each side weighted as a mean.

    Untargeted. The attacker knows what answers the image, which an outsider rarely does.
    """
    right_BR = search.relevant_BR.float()
    return Goal(signs(_means(right_BR, search.gallery_RK) - _means(1 - right_BR, search.gallery_RK)), -1)


def _means(held_BR: Tensor, gallery_RK: Tensor) -> Tensor:
    return held_BR @ gallery_RK / held_BR.sum(dim=1, keepdim=True).clamp(min=1)
