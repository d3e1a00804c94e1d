"""Anchor contrast: each private pair against public anchors only, so that no record reads another.

Two terms, each in both directions and averaged:

1. Contrast. An image against its own report and the K anchors' reports, a report against its own image and the
   anchors' images: InfoNCE (van den Oord et al., arXiv 1807.03748) with public negatives.
2. Agreement. An image must stand to the anchors' reports as its own report does, a report to the anchors' images as
   its own image does: the cross-entropy of the two softmax profiles, the teacher's without gradient. Contrast alone
   can be won by telling private from public studies (another scanner, another house style); a profile over the
   anchors has no such way out, because the private pair is not among its items.

The value of record i depends on record i and public quantities alone, so clipping its gradient to C bounds what one
patient can change.

Shapes: B batch of private pairs, K public anchors, D embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, softmax, softplus

from common.losses.interface import Coupling

TEACHER_SHARPNESS = 2.0
"""The teacher's profile is taken at the loss's temperature over this: a softer one teaches little."""


@dataclass(frozen=True, kw_only=True)
class AnchorContrast:
    """Contrast plus weighted agreement.

    Attributes:
        temperature: Divides the cosine similarities.
        agreement_weight: Weight of the agreement beside the contrast.
    """

    temperature: float
    agreement_weight: float
    coupling: ClassVar[Coupling] = Coupling.NONE

    def __call__(
        self, image_BD: Tensor, report_BD: Tensor, anchor_image_KD: Tensor, anchor_report_KD: Tensor
    ) -> Tensor:
        """Values `[B]`; see `Loss`."""
        own_B = (image_BD * report_BD).sum(-1) / self.temperature
        image_to_reports_BK = image_BD @ anchor_report_KD.T / self.temperature
        report_to_images_BK = report_BD @ anchor_image_KD.T / self.temperature
        contrast_B = softplus(torch.logsumexp(image_to_reports_BK, dim=-1) - own_B) + softplus(
            torch.logsumexp(report_to_images_BK, dim=-1) - own_B
        )
        agreement_B = disagreement(
            image_to_reports_BK, report_BD @ anchor_report_KD.T, temperature=self.temperature
        ) + disagreement(report_to_images_BK, image_BD @ anchor_image_KD.T, temperature=self.temperature)
        return (contrast_B + self.agreement_weight * agreement_B) / 2


def disagreement(student_BK: Tensor, teacher_BK: Tensor, *, temperature: float) -> Tensor:
    """Cross-entropy `[B]` of two profiles over the anchors.

    Args:
        student_BK: Similarities over the temperature.
        teacher_BK: Similarities; taken without gradient.
        temperature: Of the contrast.
    """
    profile_BK = softmax(teacher_BK.detach() * (TEACHER_SHARPNESS / temperature), dim=-1)
    return -(profile_BK * log_softmax(student_BK, dim=-1)).sum(dim=-1)
