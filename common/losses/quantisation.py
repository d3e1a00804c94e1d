"""Quantisation: a relaxed code should lie near its sign, so that little is lost when it becomes bits.

Shapes: B batch, K bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from common.encoders.dual import Embedded
from common.losses.interface import Coupling
from common.losses.public import Public


@dataclass(frozen=True, kw_only=True)
class Quantisation:
    """Mean squared distance of a relaxed code from its sign, of image and report on average."""

    temperature: float
    coupling: ClassVar[Coupling] = Coupling.NONE
    of_codes: ClassVar[bool] = True
    reads_anchors: ClassVar[bool] = False
    of_pairs: ClassVar[bool] = True

    def __call__(self, image: Embedded, report: Embedded, public: Public) -> Tensor:  # noqa: ARG002 - see `Term`
        """See `Term`."""
        return (roughness(image.code) + roughness(report.code)) / 2


def roughness(code_BK: Tensor) -> Tensor:
    """Mean squared distance `[B]` of a relaxed code from its sign."""
    return (1 - code_BK.abs()).square().mean(dim=-1)
