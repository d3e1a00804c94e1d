"""Distillation: a code should stand to the anchors' codes as its embedding stands to their embeddings.

Codes are searched in place of embeddings, so what a code must keep is the order in which its embedding finds others.
The profile of an embedding over the anchors of the other modality, a softmax of the cosines, is the teacher, without
gradient; the same profile of the codes is the student: their cross-entropy, both ways and averaged (Hinton et al.,
arXiv 1503.02531; of relations, Park et al., CVPR 2019). The same sharpness on both sides, because the codes' cosine
should be the embeddings'.

Shapes: B batch of private pairs, A public anchors, D embedding, K bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import log_softmax, normalize, softmax

from common.encoders.dual import Embedded
from common.losses.anchor_contrast import TEACHER_SHARPNESS
from common.losses.interface import Coupling
from common.losses.public import Public


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Cross-entropy of the codes' profile over the anchors under the embeddings'.

    Attributes:
        temperature: Of the contrast; profiles are `TEACHER_SHARPNESS` times as sharp.
    """

    temperature: float
    coupling: ClassVar[Coupling] = Coupling.NONE
    of_codes: ClassVar[bool] = True
    reads_anchors: ClassVar[bool] = True
    of_pairs: ClassVar[bool] = True

    def __call__(self, image: Embedded, report: Embedded, public: Public) -> Tensor:
        """See `Term`."""
        first_B = distilled(image, public.report, temperature=self.temperature)
        return (first_B + distilled(report, public.image, temperature=self.temperature)) / 2


def distilled(own: Embedded, anchors: Embedded, *, temperature: float) -> Tensor:
    """Values `[B]` of one half of the studies over the anchors' other half."""
    sharpness = TEACHER_SHARPNESS / temperature
    teacher_BA = softmax((own.embedding.detach() @ anchors.embedding.T) * sharpness, dim=-1)
    code_BA = normalize(own.code, dim=-1) @ normalize(anchors.code, dim=-1).T
    return -(teacher_BA * log_softmax(code_BA * sharpness, dim=-1)).sum(dim=-1)
