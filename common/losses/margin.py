"""Margin-scalable constraint: a pair's codes must be nearer than those of its hardest anchor, by a margin that fits.

After Yu, Wu, Dou and Bakker (Neurocomputing 483, 2022), whose constraint reads labels and other images of the batch.
Here the other side is the hardest *public* anchor alone, the one whose code is nearest, and the teacher of the margin
is the report encoder: an anchor whose report says nearly the same needs no distance, one whose report says something
else needs much,

    margin = scale * (1 - max(0, cos(own report, the anchor's report)))
    value  = max(0, margin - (cos of the pair's codes) + (cos of the code and the hardest anchor's code))

both ways and averaged. The scale grows from `START_SCALE` to 1 over the rounds (`Public.progress`): a wide margin is
asked for when the embeddings that teach it have settled. The schedule is public; no patient moves it.

Shapes: B batch of private pairs, A public anchors, K bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import normalize

from common.encoders.dual import Embedded
from common.losses.interface import Coupling
from common.losses.public import Public

START_SCALE = 0.25
"""Share of the whole margin that the first round asks for."""


@dataclass(frozen=True, kw_only=True)
class Margin:
    """Hinge of a pair against its hardest anchor."""

    temperature: float
    coupling: ClassVar[Coupling] = Coupling.NONE
    of_codes: ClassVar[bool] = True
    reads_anchors: ClassVar[bool] = True
    of_pairs: ClassVar[bool] = True

    def __call__(self, image: Embedded, report: Embedded, public: Public) -> Tensor:
        """See `Term`."""
        image_BK, report_BK = normalize(image.code, dim=-1), normalize(report.code, dim=-1)
        alike_BA = (report.embedding.detach() @ public.report.embedding.T).clamp(min=0)
        margin_BA = (START_SCALE + (1 - START_SCALE) * public.progress) * (1 - alike_BA)
        own_B = (image_BK * report_BK).sum(dim=-1)
        ways = ((image_BK, public.report), (report_BK, public.image))
        first_B, second_B = (_hinge(own_B, code_BK, anchors, margin_BA) for code_BK, anchors in ways)
        return (first_B + second_B) / 2


def _hinge(own_B: Tensor, code_BK: Tensor, anchors: Embedded, margin_BA: Tensor) -> Tensor:
    similarity_BA = code_BK @ normalize(anchors.code, dim=-1).T
    hardest_B1 = similarity_BA.detach().argmax(dim=-1, keepdim=True)
    missing_B1 = margin_BA.gather(-1, hardest_B1) + similarity_BA.gather(-1, hardest_B1)
    return (missing_B1.squeeze(-1) - own_B).clamp(min=0)
