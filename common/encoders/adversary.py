"""Adversarial debiasing: a head predicts a patient's group from embedding and code, and these learn to hide it.

The head descends the cross-entropy of the group; what it reads climbs it, because the gradient is turned around on its
way back (Ganin and Lempitsky, arXiv 1409.7495; against a protected attribute: Zhang et al., arXiv 1801.07593). What
gives a group away is then unlearnt, and with it what sets its images apart for another reason than what is found.

The head is a part of the model that trains: a linear map, zero at first, so that its start is public and asks nothing.
Its gradient is a part of each patient's, under the same clip and noise, and is sent like all others. Nothing is
searched with it. The groups of the patients stay at the site.

Where head and what it reads move by turns neither comes to rest: they circle. So each step the head forgets a part of
what it knows (`FORGETTING`), which brings them together (regularised min-max games: Mescheder et al., arXiv
1801.04406). That reads no patient: it is post-processing.

Coupling: none. A record's value reads that record, its own group and the model.

Shapes: B batch, D embedding, K bits, G groups.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FORGETTING = 1.0
"""Of the head's weight, what each step adds to its gradient."""


class Adversary(nn.Linear):
    """Linear map `[B, D + K] -> [B, G]` of what `seen` hands it.

    Args:
        embedding_dim: D.
        bit_width: K.
        num_groups: G.
        strength: What the gradient is multiplied by, beside the change of sign.
    """

    def __init__(self, *, embedding_dim: int, bit_width: int, num_groups: int, strength: float) -> None:
        super().__init__(embedding_dim + bit_width, num_groups, bias=False)
        nn.init.zeros_(self.weight)
        self._strength = strength
        self._code_scale = bit_width**-0.5

    def seen(self, embedding_BD: Tensor, code_BK: Tensor) -> Tensor:
        """Embedding and code `[B, D + K]`, at unit length or below each, as they are; their gradient is reversed."""
        joined = torch.cat([embedding_BD, code_BK * self._code_scale], dim=-1)
        return (1 + self._strength) * joined.detach() - self._strength * joined
