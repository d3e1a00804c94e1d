"""What training minimises: a contrastive loss of the embeddings, the same of the codes, and terms by name.

    objective = contrast(embeddings) + code.weight * contrast(codes) + sum over terms of its weight * term
              + what the adversary makes of the group

`loss.name` composes it: `anchor_contrast+distillation+margin` is a contrast and two terms, whose weights are in
`loss.weights`. Every term of a record reads that record and public quantities only, unless one couples records;
`Objective.coupling` says how far. A study that lacks its image or its report counts in the terms that do not ask
something of pairs, and zero in all else; without such a term it counts zero.

Shapes: B batch of private pairs, K bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from common.config.schema import CodeConfig, LossConfig
from common.encoders.dual import Embedded
from common.errors import ConfigError
from common.losses.composition import contrast_of, terms_of, trains_unpaired
from common.losses.interface import LOSSES, TERMS, Coupling, Loss, Term
from common.losses.public import Public

_STRENGTH = (Coupling.NONE, Coupling.PAIRS, Coupling.BATCH)


@dataclass(frozen=True)
class WeightedTerm:
    """A term of the objective and its weight."""

    term: Term
    weight: float

    def __call__(self, image: Embedded, report: Embedded, public: Public) -> Tensor:
        """Values `[B]`, weighted."""
        return self.weight * self.term(image, report, public)


@dataclass(frozen=True)
class Objective:
    """The objective of one run: a pure function of embedded pairs.

    Attributes:
        contrast: Of embeddings and of codes.
        code_weight: Of the codes' contrast.
        terms: Whatever else is asked of a record.
    """

    contrast: Loss
    code_weight: float
    terms: tuple[WeightedTerm, ...] = ()

    @property
    def coupling(self) -> Coupling:
        """How far one record's value depends on other private records: as far as any part of it."""
        return max((self.contrast.coupling, *(each.term.coupling for each in self.terms)), key=_STRENGTH.index)

    def __call__(self, image: Embedded, report: Embedded, public: Public, groups: Tensor | None = None) -> Tensor:
        """Values `[B]` of B embedded pairs.

        Args:
            image: Of each pair.
            report: Of each pair.
            public: What a pair is compared with.
            groups: Group `[B]` of each pair's patient, for the adversary; None asks nothing of it.
        """
        contrast_B = self.contrast(image.embedding, report.embedding, public.image.embedding, public.report.embedding)
        image, report = (half.prefix(public.centres.shape[1]) for half in (image, report))
        contrast_B = contrast_B + self.code_weight * self._of_codes(image, report, public)
        value_B = _of_pairs(contrast_B, image, report) + self.rest(image, report, public)
        if groups is not None:
            value_B = value_B + (_surprise(image, groups) + _surprise(report, groups)) / 2
        return value_B

    def of_public(self, contrast: Loss) -> Objective:
        """The objective for public pairs among themselves, with a contrast of theirs and the terms of codes alone.

        A term of embeddings asks a private record to be as the anchors are, and nothing of these.
        """
        return replace(self, contrast=contrast, terms=tuple(each for each in self.terms if each.term.of_codes))

    def rest(self, image: Embedded, report: Embedded, public: Public) -> Tensor:
        """Values `[B]` of the terms beside the contrast."""
        value_B = torch.zeros_like(image.code[:, 0])
        for each in self.terms:
            own_B = each(image, report, public)
            value_B = value_B + (_of_pairs(own_B, image, report) if each.term.of_pairs else own_B)
        return value_B

    def _of_codes(self, image: Embedded, report: Embedded, public: Public) -> Tensor:
        return self.contrast(
            normalize(image.code, dim=-1),
            normalize(report.code, dim=-1),
            normalize(public.image.code, dim=-1),
            normalize(public.report.code, dim=-1),
        )


def _of_pairs(value_B: Tensor, image: Embedded, report: Embedded) -> Tensor:
    """The values of the studies that have both halves, and zero of the others."""
    if image.present is None or report.present is None:
        return value_B
    return torch.where(image.present & report.present, value_B, 0.0)


def _surprise(half: Embedded, group_B: Tensor) -> Tensor:
    if half.group is None:
        return torch.zeros_like(half.code[:, 0])
    value_B = cross_entropy(half.group, group_B, reduction="none")
    return value_B if half.present is None else torch.where(half.present, value_B, 0.0)


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


def refuse_terms_of_anchors(objective: Objective) -> None:
    """Refuse terms that a clip by pairs does not bound: of embeddings, or of anchors, which it does not read.

    Raises:
        ConfigError: There is one.
    """
    if any(each.term.reads_anchors or not each.term.of_codes for each in objective.terms):
        raise ConfigError("loss.name: pair_clip reads no anchors; beside it quantisation and centres alone can stand")


def build_objective(loss: LossConfig, code: CodeConfig) -> Objective:
    """The objective that a config names.

    Raises:
        ConfigError: A name in `loss.name` is unknown, a term is named twice, it does not begin with a contrast, or
            unpaired studies are to train beside one that takes other studies for negatives.
    """
    contrast = LOSSES.load(contrast_of(loss))(temperature=loss.temperature, agreement_weight=loss.agreement_weight)
    terms = tuple(
        WeightedTerm(TERMS.load(name)(temperature=loss.temperature), getattr(loss.weights, name))
        for name in terms_of(loss)
    )
    if trains_unpaired(loss) and contrast.coupling is not Coupling.NONE:
        raise ConfigError(
            f"loss.name={loss.name}: unpaired studies train through the public anchors, which {contrast_of(loss)} does "
            "not read; use loss.name=anchor_contrast+unpaired, or leave unpaired out"
        )
    return Objective(contrast, code.weight, terms)
