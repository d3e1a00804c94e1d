"""What a peer is given, and what it gives: pairs of features, and two functions from features to codes.

Shapes: N pairs, F features, K bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor


class Pairs(NamedTuple):
    """Features of N image-report pairs, each modality of its own width.

    Attributes:
        images: `[N, F]`, float.
        reports: `[N, F]`, float.
    """

    images: Tensor
    reports: Tensor


ToCode: TypeAlias = Callable[[Tensor], Tensor]
"""From features `[N, F]` to values `[N, K]` whose signs are the code."""

Fit: TypeAlias = Callable[[Pairs, int, torch.Generator], tuple[ToCode, ToCode]]
"""From training pairs, K and a source of randomness to the codes of images and of reports."""


@dataclass(frozen=True)
class Standard:
    """Standardisation that was fitted to training features; a feature that never changes is left at 0."""

    mean_F: Tensor
    deviation_F: Tensor

    @classmethod
    def of(cls, features_NF: Tensor) -> Standard:
        """Mean and deviation of features."""
        return cls(features_NF.mean(dim=0), features_NF.std(dim=0).clamp(min=1e-6))

    def __call__(self, features_NF: Tensor) -> Tensor:
        """Features of mean 0 and deviation 1."""
        return (features_NF - self.mean_F) / self.deviation_F


def standardised(pairs: Pairs) -> tuple[Pairs, Standard, Standard]:
    """Standardised pairs, and what standardises further images and reports."""
    image, report = Standard.of(pairs.images), Standard.of(pairs.reports)
    return Pairs(image(pairs.images), report(pairs.reports)), image, report


def epochs(
    num_pairs: int, *, num_epochs: int, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[int, Tensor]]:
    """Number of the epoch and rows of each batch, shuffled anew each epoch; a last batch of one pair is left out."""
    for epoch in range(num_epochs):
        for rows in torch.randperm(num_pairs, generator=generator).split(batch_size):
            if len(rows) > 1:
                yield epoch, rows
