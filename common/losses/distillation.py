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
from torch.nn.functional import normalize

from common.encoders.dual import Embedded
from common.losses.anchor_contrast import TEACHER_SHARPNESS, disagreement
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
        ways = ((image, public.report), (report, public.image))
        first_B, second_B = (
            distilled(own.embedding @ anchors.embedding.T, code_cosines(own, anchors), temperature=self.temperature)
            for own, anchors in ways
        )
        return (first_B + second_B) / 2


def code_cosines(own: Embedded, anchors: Embedded) -> Tensor:
    """Cosines `[B, A]` of codes with the anchors'."""
    return normalize(own.code, dim=-1) @ normalize(anchors.code, dim=-1).T


def distilled(embedding_BA: Tensor, code_BA: Tensor, *, temperature: float) -> Tensor:
    """Cross-entropy `[B]` of the codes' profile under the embeddings', both from cosines with the anchors."""
    return disagreement(code_BA * (TEACHER_SHARPNESS / temperature), embedding_BA, temperature=temperature)
