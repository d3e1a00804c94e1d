"""What training minimises: a contrastive loss of the embeddings, and the same loss and two more terms of the codes.

    objective = contrast(embeddings) + level_weight * shortfall(embeddings) + what the adversary makes of the group
              + code.weight * (contrast(codes) + quantisation_weight * quantisation + centre_weight * centre)

Every term of a record reads that record and public quantities only, unless the contrastive loss itself couples
records; `Objective.coupling` says how far.

Shapes: B batch of private pairs, A public anchors, M centres, D embedding, K bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from common.config.schema import CodeConfig, LossConfig
from common.encoders.dual import DualEncoder, Embedded
from common.errors import ConfigError
from common.hashing.head import nearest_centres
from common.losses.interface import LOSSES, Coupling, Loss
from common.losses.score_level import ScoreLevel


class Public(NamedTuple):
    """What a record may be compared with: A public pairs under the current model, and M public code centres.

    Attributes:
        image: The anchors' images, without gradient.
        report: The anchors' reports, without gradient.
        prototypes: `[M, D]` public means that tell which centre a record belongs to.
        centres: `[M, K]` of +1 and -1.
    """

    image: Embedded
    report: Embedded
    prototypes: Tensor
    centres: Tensor


def embed_public(model: DualEncoder, images: Tensor, reports: Tensor) -> Public:
    """Anchors' features under the current model; public, so without gradient and outside per-record derivatives."""
    with torch.no_grad():
        image, report = model(images, reports)
    return Public(image, report, model.hash_head.prototypes, model.hash_head.centres)


@dataclass(frozen=True)
class Objective:
    """The objective of one run: a pure function of embedded pairs.

    Attributes:
        contrast: The contrastive loss.
        code: Weights of the codes' terms.
        level: What lifts pairs to the anchors' score level, and its weight; None where nothing does.
    """

    contrast: Loss
    code: CodeConfig
    level: ScoreLevel | None = None

    @property
    def coupling(self) -> Coupling:
        """How far one record's value depends on other private records."""
        return self.contrast.coupling

    def __call__(self, image: Embedded, report: Embedded, public: Public, groups: Tensor | None = None) -> Tensor:
        """Values `[B]` of B embedded pairs.

        Args:
            image: Of each pair.
            report: Of each pair.
            public: What a pair is compared with.
            groups: Group `[B]` of each pair's patient, for the adversary; None asks nothing of it.
        """
        embeddings = (image.embedding, report.embedding, public.image.embedding, public.report.embedding)
        value_B = self.contrast(*embeddings)
        if self.level is not None:
            value_B = value_B + self.level(*embeddings)
        if groups is not None and image.group is not None and report.group is not None:
            value_B = value_B + (_surprise(image.group, groups) + _surprise(report.group, groups)) / 2
        return value_B + self.code.weight * self._code_value(image, report, public)

    def _code_value(self, image: Embedded, report: Embedded, public: Public) -> Tensor:
        contrast_B = self.contrast(
            normalize(image.code, dim=-1),
            normalize(report.code, dim=-1),
            normalize(public.image.code, dim=-1),
            normalize(public.report.code, dim=-1),
        )
        return contrast_B + self.code_shape(image, report, public)

    def code_shape(self, image: Embedded, report: Embedded, public: Public) -> Tensor:
        """Values `[B]` of the code's terms that no other record enters, whatever the contrast."""
        quantisation_B = (quantisation(image.code) + quantisation(report.code)) / 2
        centre_BK = nearest_centres(report.embedding, public.prototypes, public.centres)
        centre_B = (centre_distance(image.code, centre_BK) + centre_distance(report.code, centre_BK)) / 2
        return self.code.quantisation_weight * quantisation_B + self.code.centre_weight * centre_B


def _surprise(logits_BG: Tensor, group_B: Tensor) -> Tensor:
    return cross_entropy(logits_BG, group_B, reduction="none")


def quantisation(code_BK: Tensor) -> Tensor:
    """Mean squared distance `[B]` of a relaxed code from its sign."""
    return (1 - code_BK.abs()).square().mean(dim=-1)


def centre_distance(code_BK: Tensor, centre_BK: Tensor) -> Tensor:
    """Share of the way `[B]` from a centre to its opposite: 0 at the centre, 1 at its complement."""
    return (1 - (code_BK * centre_BK).mean(dim=-1)) / 2


def refuse_coupled(objective: Objective, *, allowed: Coupling = Coupling.NONE) -> None:
    """Refuse an objective that couples records further than a private engine can clip.

    Args:
        objective: What is to be minimised under privacy.
        allowed: What the engine bounds: no coupling, or pairs too.

    Raises:
        ConfigError: The objective couples records further.
    """
    if objective.coupling not in {Coupling.NONE, allowed}:
        raise ConfigError(
            "loss.name: this loss reads other patients of the batch, so clipping bounds nothing and the stated epsilon "
            "would be false; use loss.name=anchor_contrast, or train without privacy (privacy.epsilon=null)"
        )


def build_objective(loss: LossConfig, code: CodeConfig) -> Objective:
    """The objective that a config names.

    Raises:
        ConfigError: `loss.name` is unknown.
    """
    contrast = LOSSES.load(loss.name)(temperature=loss.temperature, agreement_weight=loss.agreement_weight)
    level = ScoreLevel(temperature=loss.temperature, weight=loss.level_weight) if loss.level_weight else None
    return Objective(contrast, code, level)
