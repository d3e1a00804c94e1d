"""What a private record may be compared with: public pairs under the current model, and public centres of codes.

Shapes: A public anchors, M centres, D embedding, K bits.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from common.encoders.dual import DualEncoder, Embedded


class Public(NamedTuple):
    """What a record may be compared with: A public pairs under the current model, and M public code centres.

    Attributes:
        image: The anchors' images, without gradient.
        report: The anchors' reports, without gradient.
        prototypes: `[M, D]` public means that tell which centre a record belongs to.
        centres: `[M, K]` of +1 and -1; K is the bits that this step asks for, of a nested code its first ones.
        progress: How far the run has come, from 0 in its first round to 1 in its last: a public schedule.
    """

    image: Embedded
    report: Embedded
    prototypes: Tensor
    centres: Tensor
    progress: float = 1.0

    def prefix(self, bits: int) -> Public:
        """The same quantities of the codes' first bits."""
        image, report = (half.prefix(bits) for half in (self.image, self.report))
        return Public(image, report, self.prototypes, self.centres[:, :bits], self.progress)

    def to(self, device: str) -> Public:
        """The same quantities on a device."""
        image, report = (
            Embedded(half.embedding.to(device), half.code.to(device)) for half in (self.image, self.report)
        )
        return Public(image, report, self.prototypes.to(device), self.centres.to(device), self.progress)


def embed_public(model: DualEncoder, images: Tensor, reports: Tensor, *, progress: float = 1.0) -> Public:
    """Anchors' features under the current model; public, so without gradient and outside per-record derivatives."""
    with torch.no_grad():
        image, report = (Embedded(half.embedding, half.code) for half in model(images, reports))
    return Public(image, report, model.hash_head.prototypes, model.hash_head.centres, progress)
