"""Anchor contrast: each private pair against public anchors only, so that no record reads another.

Each image is contrasted with its own report and the K anchors' reports, each report with its own image and the
anchors' images: InfoNCE (van den Oord et al., arXiv 1807.03748) with public negatives. The value of record i depends
on record i and public quantities alone, so clipping its gradient to C bounds what one patient can change.

Shapes: B batch of private pairs, K public anchors, D embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus


@dataclass(frozen=True, kw_only=True)
class AnchorContrast:
    """Anchor contrast in both directions, averaged.

    Attributes:
        temperature: Divides the cosine similarities.
    """

    temperature: float
    couples_records: bool = False

    def __call__(
        self, image_BD: Tensor, report_BD: Tensor, anchor_image_KD: Tensor, anchor_report_KD: Tensor
    ) -> Tensor:
        """Values `[B]`; see `Loss`."""
        own = (image_BD * report_BD).sum(-1) / self.temperature
        reports = torch.logsumexp(image_BD @ anchor_report_KD.T / self.temperature, dim=-1)
        images = torch.logsumexp(report_BD @ anchor_image_KD.T / self.temperature, dim=-1)
        return (softplus(reports - own) + softplus(images - own)) / 2
