"""Coordinate-wise trimmed mean (Yin et al., ICML 2018): the f greatest and f least values of each coordinate go.

Robustness: (f, kappa)-robust for f < S/2 with kappa = 6 f / (S - 2f) * (1 + f / (S - 2f)) (Allouah et al., AISTATS
2023, Proposition 2); breakdown point f. Weights are not trusted: every site counts once.

Shapes: S sites, P trained parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.errors import AggregationError
from strategies.interface import Aggregate, State

BLOCK_VALUES = 2**18
"""Values sorted at once: a block stays in the cache and bounds the extra memory."""


@dataclass(frozen=True, kw_only=True)
class TrimmedMean:
    """Trimmed mean that bears `num_byzantine` sites.

    Attributes:
        num_byzantine: f; also the number of values cut at each end.
    """

    num_byzantine: int

    def init(self) -> State:
        """No state."""
        return {}

    def aggregate(self, updates_SP: Tensor, weights_S: Tensor, state: State) -> Aggregate:  # noqa: ARG002
        """See `Aggregator`."""
        num_sites, num_values = updates_SP.shape
        kept = num_sites - 2 * self.num_byzantine
        if kept < 1:
            raise AggregationError(
                f"the trimmed mean with aggregator.num_byzantine={self.num_byzantine} needs at least "
                f"{2 * self.num_byzantine + 1} admitted updates, there are {num_sites}"
            )
        update_P = torch.empty(num_values, dtype=updates_SP.dtype, device=updates_SP.device)
        share_S = torch.zeros(num_sites, dtype=torch.float64)
        block = max(1, BLOCK_VALUES // num_sites)
        for start in range(0, num_values, block):
            values, order = updates_SP[:, start : start + block].sort(dim=0, stable=True)
            middle = slice(self.num_byzantine, num_sites - self.num_byzantine)
            update_P[start : start + block] = values[middle].mean(dim=0)
            share_S += torch.bincount(order[middle].flatten().cpu(), minlength=num_sites)
        return Aggregate(update_P, (share_S / share_S.sum()).float(), state)

    def max_byzantine(self, num_sites: int) -> int:
        """The greatest f with 2f < S."""
        return (num_sites - 1) // 2
