"""Unpaired: a study that lacks its report, or its image, learns from the anchors, which have both.

The anchors' pairs are the bridge. To which anchors an image is near, as an image, tells to which of their reports it
should be near; and a report likewise. So the profile of the half that is there over the anchors' same half is the
teacher, without gradient, and its profile over their other half the student: the cross-entropy that the agreement of
`anchor_contrast.py` takes between image and report of one study. The code follows its embedding as in
`distillation.py`.

    value = disagreement(over the anchors' other half, over their same half) + distilled(over their other half)

Coupling: none. The value of a record reads the half that it has and public quantities alone; what stands for the other
half is a public constant and moves nothing. A patient's clip is of the mean over all of their studies, paired or not.
Edge cases: a study that has both halves counts zero, which all other terms train.

Shapes: B batch, A public anchors, D embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from common.encoders.dual import Embedded
from common.losses.anchor_contrast import disagreement
from common.losses.distillation import code_cosines, distilled
from common.losses.interface import Coupling
from common.losses.public import Public


@dataclass(frozen=True, kw_only=True)
class Unpaired:
    """How far a lone half stands to the anchors' other half from how it stands to their same half.

    Attributes:
        temperature: Of the contrast.
    """

    temperature: float
    coupling: ClassVar[Coupling] = Coupling.NONE
    of_codes: ClassVar[bool] = False
    reads_anchors: ClassVar[bool] = True
    of_pairs: ClassVar[bool] = False

    def __call__(self, image: Embedded, report: Embedded, public: Public) -> Tensor:
        """See `Term`."""
        if image.present is None or report.present is None:
            return torch.zeros_like(image.code[:, 0])
        of_image_B1 = image.present[:, None]

        def fit(where_image: Tensor, where_report: Tensor) -> Tensor:
            return torch.where(of_image_B1, where_image, where_report)

        own = Embedded(fit(image.embedding, report.embedding), fit(image.code, report.code))
        to_image_BA, to_report_BA = (own.embedding @ half.embedding.T for half in (public.image, public.report))
        other_BA, same_BA = fit(to_report_BA, to_image_BA), fit(to_image_BA, to_report_BA)
        code_BA = fit(code_cosines(own, public.report), code_cosines(own, public.image))
        value_B = disagreement(other_BA / self.temperature, same_BA, temperature=self.temperature)
        value_B = value_B + distilled(other_BA, code_BA, temperature=self.temperature)
        return torch.where(image.present & report.present, 0.0, value_B)
