"""Reads a study's features off the update of a linear head: the gradient of one study is an outer product.

Where only the linear map behind a frozen encoder trains, a study's gradient of that map is (what the loss asks of its
embedding) times (its features), a matrix of rank one. So the strongest right singular vector of an update of one study
is its features' direction, over any number of steps. There is no picture in it that is not in the features: which
picture they belong to is found by comparing with candidates.

Shapes: D features, N studies.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.encoders.whitened_head import WhitenedHead
from common.wire.update import NamedArrays

WEIGHT = "image_tower.linear.weight"


def read_direction(update: NamedArrays) -> Tensor:
    """Unit vector `[D]` of the features behind an update, up to its sign."""
    moved_DD = torch.as_tensor(update[WEIGHT]).double()
    direction_D: Tensor = torch.linalg.svd(moved_DD).Vh[0]
    return direction_D


def features_seen(head: WhitenedHead, images_NF: Tensor) -> Tensor:
    """Unit vectors `[N, D]` of what the linear map sees of some studies."""
    seen_ND = ((images_NF - head.mean) @ head.projection).double()
    return torch.nn.functional.normalize(seen_ND, dim=-1)


def likeness(direction_D: Tensor, features_ND: Tensor) -> Tensor:
    """How near studies' features are to a direction `[N]`: 1 the same, 0 at right angles."""
    return (features_ND @ direction_D).abs()
