"""Score level: a pair should stand out among the public anchors as much as public pairs do, whoever the patient is.

The level of a pair is how far its own similarity is above those to the anchors, in the logarithm of odds, averaged over
both directions:

    level = own / t - (logsumexp(image to the anchors' reports / t) + logsumexp(report to the anchors' images / t)) / 2

The public target is the mean level of the anchors' own pairs, each among the other anchors, under the current model. A
record below it pays the square of what it lacks, one above it nothing: so what is served worse than the public pairs
is lifted, and nobody is pulled down. It needs no attribute of a patient: a group whose scores lie low as a whole pays
most. To match the groups' score distributions with one another would couple patients; one public target does not.

Coupling: none. The value of record i reads record i and public quantities alone.
Edge cases: a single anchor has no other to be compared with; then nothing is asked.

Shapes: B batch of private pairs, K public anchors, D embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from common.encoders.dual import Embedded
from common.losses.interface import Coupling
from common.losses.public import Public


@dataclass(frozen=True, kw_only=True)
class ScoreLevel:
    """What a pair lacks of the public level, squared.

    Attributes:
        temperature: Divides the cosine similarities.
    """

    temperature: float
    coupling: ClassVar[Coupling] = Coupling.NONE
    of_codes: ClassVar[bool] = False
    reads_anchors: ClassVar[bool] = True
    of_pairs: ClassVar[bool] = True

    def __call__(self, image: Embedded, report: Embedded, public: Public) -> Tensor:
        """See `Term`."""
        image_BD, report_BD = image.embedding, report.embedding
        anchor_image_KD, anchor_report_KD = public.image.embedding, public.report.embedding
        if len(anchor_image_KD) < 2:
            return torch.zeros_like(image_BD[:, 0])
        anchors = (anchor_image_KD / self.temperature, anchor_report_KD / self.temperature)
        own_B = (image_BD * report_BD).sum(-1) / self.temperature
        level_B = _level(own_B, image_BD @ anchors[1].T, report_BD @ anchors[0].T)
        asked = _public_level(anchor_image_KD @ anchors[1].T)
        return (asked - level_B).clamp(min=0.0).square()


def _public_level(similarity_KK: Tensor) -> Tensor:
    """Mean level of the anchors' own pairs, each among the others."""
    own = torch.eye(len(similarity_KK), dtype=torch.bool, device=similarity_KK.device)
    others_KK = similarity_KK.masked_fill(own, -math.inf)
    return _level(similarity_KK.diagonal(), others_KK, others_KK.T).mean().detach()


def _level(own_B: Tensor, to_reports_BK: Tensor, to_images_BK: Tensor) -> Tensor:
    return own_B - (torch.logsumexp(to_reports_BK, dim=-1) + torch.logsumexp(to_images_BK, dim=-1)) / 2
