"""The sigmoid loss of SigLIP (Zhai et al., arXiv 2303.15343): every image against every report, each pair by itself.

A pair that belongs together pays log(1 + exp(-z)), one that does not pays log(1 + exp(z)), with the logit

    z = similarity / temperature - log(number of negatives that an image meets)

Temperature and bias are public constants, not trained: at this bias a pair of independent studies, of which one in
(negatives + 1) belongs together, is served by similarity 0, whatever the batch. The number of negatives must
be public where the loss is used with privacy: the expected number, never the actual one.

No term reads more than two records, so each term's gradient can be clipped by itself; the anchors are not read. This
is the loss of consortia without public data.

Shapes: B batch of pairs, D embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softplus

from common.losses.interface import Coupling


@dataclass(frozen=True, kw_only=True)
class PairClipSigmoid:
    """Sum over pairs of the sigmoid loss.

    Attributes:
        temperature: Divides the cosine similarities.
        agreement_weight: Of anchor contrast; not read here.
    """

    temperature: float
    agreement_weight: float = 0.0
    coupling: ClassVar[Coupling] = Coupling.PAIRS

    def positive(self, similarity: Tensor, *, expected_patients: float) -> Tensor:
        """See `PairLoss`."""
        return softplus(-self._logit(similarity, expected_patients))

    def negative(self, similarity: Tensor, *, expected_patients: float) -> Tensor:
        """See `PairLoss`."""
        return softplus(self._logit(similarity, expected_patients))

    def __call__(
        self,
        image_BD: Tensor,
        report_BD: Tensor,
        anchor_image_KD: Tensor,  # noqa: ARG002 - part of the interface
        anchor_report_KD: Tensor,  # noqa: ARG002 - part of the interface
    ) -> Tensor:
        """Values `[B]`: a record's own pair and half of the negatives it is part of, so that they add up to the sum.

        The batch itself tells the number of negatives, so this form serves runs without privacy only.
        """
        size = len(image_BD)
        similarity_BB = image_BD @ report_BD.T
        own_B = self.positive(similarity_BB.diagonal(), expected_patients=size)
        negative_BB = self.negative(similarity_BB, expected_patients=size)
        others_B = (negative_BB.sum(dim=0) + negative_BB.sum(dim=1)) / 2 - negative_BB.diagonal()
        return own_B + others_B

    def _logit(self, similarity: Tensor, expected_patients: float) -> Tensor:
        return similarity / self.temperature - math.log(max(expected_patients - 1, 1.0))
