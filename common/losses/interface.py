"""What every contrastive loss and every term beside it offers, and what makes them fit for privacy.

A loss of record i that reads other private records *couples* them: removing one patient then changes every other
patient's gradient, clipping each one bounds nothing, and the stated epsilon is false. Each loss says how far it
couples, and a private engine refuses what it cannot bound.

Shapes: B batch of private pairs, K public anchors, D embedding.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol, runtime_checkable

from torch import Tensor

from common.config.registry import Registry
from common.encoders.dual import Embedded
from common.losses.public import Public


class Coupling(StrEnum):
    """How far the value of one private record depends on other private records."""

    NONE = "none"
    """Not at all: clip each patient's gradient (`client/dp/engine.py`)."""
    PAIRS = "pairs"
    """A sum of terms that read two records each: clip each term (`client/dp/pair_clip.py`)."""
    BATCH = "batch"
    """Terms that read the whole batch: nothing to clip, so without privacy only."""


class Loss(Protocol):
    """A contrastive loss with one value a record."""

    @property
    def coupling(self) -> Coupling:
        """How far the value of one private record depends on other private records."""
        ...

    def __call__(
        self, image_BD: Tensor, report_BD: Tensor, anchor_image_KD: Tensor, anchor_report_KD: Tensor
    ) -> Tensor:
        """Values `[B]` of B private pairs of unit vectors, given K public pairs without gradient."""
        ...


@runtime_checkable
class PairLoss(Loss, Protocol):
    """A loss that is a sum over pairs of an image and a report, each term a function of their cosine similarity."""

    def positive(self, similarity: Tensor, *, expected_patients: float) -> Tensor:
        """Values of pairs that belong together, in the shape of their similarities.

        Args:
            similarity: Cosine similarities, any shape.
            expected_patients: Public number of pairs that a batch holds on average.
        """
        ...

    def negative(self, similarity: Tensor, *, expected_patients: float) -> Tensor:
        """Values of pairs from two patients; see `positive`."""
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
        "pair_clip": "common.losses.pair_clip_sigmoid:PairClipSigmoid",
    },
)


class Term(Protocol):
    """What is asked of a record beside the contrast, with one value a record."""

    @property
    def coupling(self) -> Coupling:
        """How far the value of one private record depends on other private records."""
        ...

    @property
    def of_codes(self) -> bool:
        """Whether it asks something of codes alone; else of embeddings."""
        ...

    @property
    def reads_anchors(self) -> bool:
        """Whether it compares a record with anchors."""
        ...

    @property
    def of_pairs(self) -> bool:
        """Whether it asks something of image and report together: then a study that lacks one of them counts zero."""
        ...

    def __call__(self, image: Embedded, report: Embedded, public: Public) -> Tensor:
        """Values `[B]` of B private pairs, given public quantities without gradient."""
        ...


class TermFactory(Protocol):
    """Builds a term."""

    def __call__(self, *, temperature: float) -> Term:
        """A term beside a contrast at one temperature; what it does not know it ignores."""
        ...


TERMS: Registry[TermFactory] = Registry(
    "loss.name",
    {
        "quantisation": "common.losses.quantisation:Quantisation",
        "centres": "common.losses.centres:Centres",
        "distillation": "common.losses.distillation:Distillation",
        "margin": "common.losses.margin:Margin",
        "balance": "common.losses.bits:Balance",
        "decorrelation": "common.losses.bits:Decorrelation",
        "score_level": "common.losses.score_level:ScoreLevel",
        "invariance": "common.losses.invariance:Invariance",
        "unpaired": "common.losses.unpaired:Unpaired",
    },
)
