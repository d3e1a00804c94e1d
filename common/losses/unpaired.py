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
from common.losses.distillation import distilled
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
        image_B = self._alone(image, public.image, public.report)
        report_B = self._alone(report, public.report, public.image)
        of_reports_B = torch.where(report.present & ~image.present, report_B, 0.0)
        return torch.where(image.present & ~report.present, image_B, of_reports_B)

    def _alone(self, own: Embedded, same: Embedded, other: Embedded) -> Tensor:
        student_BA = own.embedding @ other.embedding.T / self.temperature
        teacher_BA = own.embedding @ same.embedding.T
        return disagreement(student_BA, teacher_BA, temperature=self.temperature) + distilled(
            own, other, temperature=self.temperature
        )
