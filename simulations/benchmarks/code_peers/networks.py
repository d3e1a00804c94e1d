"""The networks that the peers' papers put on fixed features: two fully connected layers and tanh."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = 512
"""The papers use 4,096 for features of 4,096; the features here are shorter."""


class CodeNetwork(nn.Module):
    """Features `[N, F]` to relaxed codes `[N, K]`.

    Args:
        num_features: F.
        bit_width: K.
        generator: Of the random start.
    """

    def __init__(self, num_features: int, bit_width: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.first = nn.Linear(num_features, HIDDEN)
        self.second = nn.Linear(HIDDEN, bit_width)
        for layer in (self.first, self.second):
            nn.init.normal_(layer.weight, std=(2 / layer.in_features) ** 0.5, generator=generator)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, *, sharpness: float = 1.0) -> Tensor:
        """Relaxed codes; sharper ones are nearer to their signs."""
        return torch.tanh(sharpness * self.second(torch.relu(self.first(features))))
