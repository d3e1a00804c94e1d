"""What every contrastive loss offers, and what makes it fit for privacy.

A loss of record i that reads other private records *couples* them: removing one patient then changes every other
patient's gradient, clipping each one bounds nothing, and the stated epsilon is false. The DP engine asks
`couples_records` and refuses.

Shapes: B batch of private pairs, K public anchors, D embedding.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from common.config.registry import Registry


class Loss(Protocol):
    """A contrastive loss with one value a record."""

    @property
    def couples_records(self) -> bool:
        """Whether the value of one private record depends on another private record."""
        ...

    def __call__(
        self, image_BD: Tensor, report_BD: Tensor, anchor_image_KD: Tensor, anchor_report_KD: Tensor
    ) -> Tensor:
        """Values `[B]` of B private pairs of unit vectors, given K public pairs without gradient."""
        ...


class LossFactory(Protocol):
    """Builds a loss."""

    def __call__(self, *, temperature: float, agreement_weight: float) -> Loss:
        """A loss at one temperature; what a loss does not know it ignores."""
        ...


LOSSES: Registry[LossFactory] = Registry(
    "loss.name",
    {
        "anchor_contrast": "common.losses.anchor_contrast:AnchorContrast",
        "in_batch": "common.losses.in_batch:InBatchContrast",
    },
)
