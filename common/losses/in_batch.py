"""In-batch InfoNCE, as CLIP trains (Radford et al., arXiv 2103.00020): the other pairs of the batch are the negatives.

It couples records, so it serves public data and runs without privacy only.

Shapes: B batch of pairs, D embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from common.losses.interface import Coupling


@dataclass(frozen=True, kw_only=True)
class InBatchContrast:
    """Symmetric InfoNCE over the batch; the anchors are not read.

    Attributes:
        temperature: Divides the cosine similarities.
        agreement_weight: Of anchor contrast; not read here.
    """

    temperature: float
    agreement_weight: float = 0.0
    coupling: ClassVar[Coupling] = Coupling.BATCH

    def __call__(
        self,
        image_BD: Tensor,
        report_BD: Tensor,
        anchor_image_KD: Tensor,  # noqa: ARG002 - part of the interface
        anchor_report_KD: Tensor,  # noqa: ARG002 - part of the interface
    ) -> Tensor:
        """Values `[B]`; see `Loss`."""
        similarity_BB = image_BD @ report_BD.T / self.temperature
        own_B = torch.arange(len(similarity_BB), device=similarity_BB.device)
        return (
            cross_entropy(similarity_BB, own_B, reduction="none")
            + cross_entropy(similarity_BB.T, own_B, reduction="none")
        ) / 2
