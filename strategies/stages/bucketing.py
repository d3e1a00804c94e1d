"""Bucketing (Karimireddy et al., ICLR 2022): means of two updates at a time, drawn anew in each round.

Sites that differ become more alike, and a rule behind it sees half as many points, of which f may still be bad: it
bears f < S / 4 where it bore f < S / 2.

Robustness: the rule's own, among ceil(S / 2) points; with unlike sites their spread is halved. No kappa is stated for
the updates themselves.

Shapes: T points, M buckets.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.seeds import torch_generator
from strategies.gram import Points
from strategies.interface import Stage

BUCKET_SIZE = 2


class Bucketing(Stage):
    """Averages pairs."""

    def num_points(self, num_points: int, num_byzantine: int) -> int:  # noqa: ARG002 - the same for every f
        """ceil(T / 2)."""
        return -(-num_points // BUCKET_SIZE)

    def mixing(self, points: Points, num_byzantine: int, *, seed: int) -> Tensor:  # noqa: ARG002 - of any f
        """One row a bucket; the last may hold one update alone."""
        order_T = torch.randperm(points.num_updates, generator=torch_generator(seed, "bucketing"))
        mixing_MT = torch.zeros(self.num_points(points.num_updates, 0), points.num_updates, dtype=torch.float64)
        for bucket, members in enumerate(order_T.split(BUCKET_SIZE)):
            mixing_MT[bucket, members] = 1 / len(members)
        return mixing_MT
