"""Balance and decorrelation: each bit should split the studies in halves, and no two bits should say the same.

How far the bits are from that is measured on the anchors' codes, under the current model. A record is asked to lean
against it: its value is linear in the record's code, or quadratic, with public coefficients, so that it reads no other
record, and its mean over records has the gradient of the penalty on the mean (of the squared means of the bits, and of
their squared correlations) where records are as the anchors are.

Shapes: B batch, A public anchors, K bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from common.encoders.dual import Embedded
from common.losses.interface import Coupling
from common.losses.public import Public


@dataclass(frozen=True, kw_only=True)
class Balance:
    """How far a record's codes lean to the side to which the anchors' lean, mean over the bits."""

    temperature: float
    coupling: ClassVar[Coupling] = Coupling.NONE
    of_codes: ClassVar[bool] = True
    reads_anchors: ClassVar[bool] = True
    of_pairs: ClassVar[bool] = True

    def __call__(self, image: Embedded, report: Embedded, public: Public) -> Tensor:
        """See `Term`."""
        lean_K = _codes(public).mean(dim=0)
        return ((image.code + report.code) * lean_K).mean(dim=-1)


@dataclass(frozen=True, kw_only=True)
class Decorrelation:
    """How far pairs of bits of a record's codes agree as the anchors' do, sum over pairs and mean over bits."""

    temperature: float
    coupling: ClassVar[Coupling] = Coupling.NONE
    of_codes: ClassVar[bool] = True
    reads_anchors: ClassVar[bool] = True
    of_pairs: ClassVar[bool] = True

    def __call__(self, image: Embedded, report: Embedded, public: Public) -> Tensor:
        """See `Term`."""
        code_AK = _codes(public)
        together_KK = code_AK.T @ code_AK / len(code_AK)
        apart_KK = together_KK - torch.diag(together_KK.diagonal())
        both = ((code_BK * (code_BK @ apart_KK)).mean(dim=-1) for code_BK in (image.code, report.code))
        return torch.stack(list(both)).sum(dim=0)


def _codes(public: Public) -> Tensor:
    return torch.cat([public.image.code, public.report.code])
