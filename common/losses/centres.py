"""Centres: image and report are drawn to the code centre of the report's public prototype (`common/hashing/head.py`).

Which centre that is the report's own embedding tells, by public prototypes: no other record is read.

Shapes: B batch, K bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from common.encoders.dual import Embedded
from common.hashing.head import nearest_centres
from common.losses.interface import Coupling
from common.losses.public import Public


@dataclass(frozen=True, kw_only=True)
class Centres:
    """Way from a record's codes to its centre, of image and report on average."""

    temperature: float
    coupling: ClassVar[Coupling] = Coupling.NONE
    of_codes: ClassVar[bool] = True
    reads_anchors: ClassVar[bool] = False
    of_pairs: ClassVar[bool] = True

    def __call__(self, image: Embedded, report: Embedded, public: Public) -> Tensor:
        """See `Term`."""
        centre_BK = nearest_centres(report.embedding, public.prototypes, public.centres)
        return (centre_distance(image.code, centre_BK) + centre_distance(report.code, centre_BK)) / 2


def centre_distance(code_BK: Tensor, centre_BK: Tensor) -> Tensor:
    """Share of the way `[B]` from a centre to its opposite: 0 at the centre, 1 at its complement."""
    return (1 - (code_BK * centre_BK).mean(dim=-1)) / 2
