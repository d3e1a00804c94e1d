"""The federation's first model: fitted to the public anchors alone, so that it costs no patient anything.

A part of the public studies is kept from it (`public_parts.py`): on these the server watches the model while it trains.

1. Each tower is set from the anchors' features (whitened PCA where the features are frozen).
2. The embeddings are fitted by in-batch InfoNCE, one study a patient in each batch.
3. The anchors' report embeddings are clustered: the prototypes that tell a record its code centre.
4. The hash head is fitted by the codes' losses, the embeddings fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.adversarial.hardening import hardening_of
from common.config.schema import RunConfig
from common.encoders.adversary import Adversary
from common.encoders.dual import DualEncoder, Embedded, embed_in_batches, unfitted
from common.encoders.interface import Encoder
from common.fairness.emphasis import cut_of
from common.hashing.head import relaxed_codes
from common.hashing.nested import drawn_width
from common.losses.in_batch import InBatchContrast
from common.losses.objective import build_objective
from common.losses.public import Public
from common.retrieval.relevance_pairs import Labels
from common.seeds import numpy_generator, torch_generator

WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class AnchorFeatures:
    """Public pairs as the towers see them.

    Attributes:
        images: Image features `[N, ...]`.
        reports: Report features `[N, ...]`.
        patients: Patient number `[N]`, int64.
        labels: What makes one of them relevant to another; None where that was not kept. No training reads it.
    """

    images: Tensor
    reports: Tensor
    patients: Tensor
    labels: Labels | None = None

    def draw(self, num_pairs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Features of `num_pairs` random pairs, or of all where there are fewer."""
        rows = torch.randperm(len(self.images), generator=generator)[:num_pairs].to(self.images.device)
        return self.images[rows], self.reports[rows]

    def draw_patients(self, num_patients: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Features of one random study of each of `num_patients` random patients."""
        shuffled = torch.randperm(len(self.images), generator=generator)
        patients = self.patients.cpu()[shuffled]
        order = torch.argsort(patients, stable=True)
        first = torch.ones(len(order), dtype=torch.bool)
        first[1:] = patients[order][1:] != patients[order][:-1]
        one_each = shuffled[order[first]]
        rows = one_each[torch.randperm(len(one_each), generator=generator)[:num_patients]].to(self.images.device)
        return self.images[rows], self.reports[rows]

    def of_patients(self, chosen: Tensor) -> AnchorFeatures:
        """The studies of some patients, who are numbered anew, in their order.

        Args:
            chosen: Numbers of the patients `[V]`, int64, in ascending order.
        """
        rows = torch.isin(self.patients, chosen).nonzero().flatten()
        numbers = torch.searchsorted(chosen, self.patients[rows])
        on_device = rows.to(self.images.device)
        labels = None if self.labels is None else self.labels.rows(rows.numpy())
        return AnchorFeatures(self.images[on_device], self.reports[on_device], numbers, labels)

    def to(self, device: str) -> AnchorFeatures:
        """The same features on a device."""
        return AnchorFeatures(self.images.to(device), self.reports.to(device), self.patients, self.labels)


def fresh_model(encoder: Encoder, config: RunConfig) -> DualEncoder:
    """A model before any fit; its random start comes from the run's seed."""
    return unfitted(
        encoder,
        embedding_dim=config.encoder.embedding_dim,
        bit_width=config.code.bit_width,
        num_centres=config.code.num_centres,
        generator=torch_generator(config.seed, "initial-weights"),
        adversary=fresh_adversary(config),
    )


def fresh_adversary(config: RunConfig) -> Adversary | None:
    """The head that a run's adversary starts from; None where the run has none."""
    if not config.mitigation.adversary_weight:
        return None
    return Adversary(
        embedding_dim=config.encoder.embedding_dim,
        bit_width=config.code.bit_width,
        num_groups=len(cut_of(config).groups),
        strength=config.mitigation.adversary_weight,
    )


def fit_to_public(model: DualEncoder, anchors: AnchorFeatures, config: RunConfig) -> None:
    """Fit a fresh model to the anchors, in place.

    Raises:
        ConfigError: There are too few anchors for the embedding, or its features cannot be changed as asked.
    """
    generator = torch_generator(config.seed, "public-fit")
    model.image_tower.fit_to_public(anchors.images)
    model.report_tower.fit_to_public(anchors.reports)
    contrast = InBatchContrast(temperature=config.loss.temperature)
    batch_size = config.public_fit.batch_size
    towers = [*model.image_tower.parameters(), *model.report_tower.parameters()]

    hardening, chance = hardening_of(config), numpy_generator(config.seed, "public-fit", "words")

    def embedding_value(images: Tensor, reports: Tensor) -> Tensor:
        image, report = model(*hardening.hardened(model, images, reports, chance))
        return contrast(image.embedding, report.embedding, image.embedding, report.embedding).mean()

    _fit(towers, embedding_value, lambda: anchors.draw_patients(batch_size, generator), config)
    image, report = embed_in_batches(model, anchors.images, anchors.reports)
    model.hash_head.set_prototypes(report.embedding, generator=generator)
    _fit_hash_head(model, AnchorFeatures(image.embedding, report.embedding, anchors.patients), config, generator)


@dataclass(frozen=True)
class FrozenPart:
    """What a fitted model's towers compute the same for ever."""

    image: nn.Module
    report: nn.Module

    def features_of(self, images: Tensor, reports: Tensor, *, batch_size: int = 256) -> tuple[Tensor, Tensor]:
        """Features `[N, ...]` of both modalities for the trained part, `batch_size` rows at a time."""
        with torch.no_grad():
            return (
                torch.cat([self.image(rows) for rows in images.split(batch_size)]),
                torch.cat([self.report(rows) for rows in reports.split(batch_size)]),
            )

    def sees(self, studies: AnchorFeatures) -> AnchorFeatures:
        """Public studies as the trained part sees them, on the device where they are."""
        return AnchorFeatures(*self.features_of(studies.images, studies.reports), studies.patients, studies.labels)


def split_frozen(model: DualEncoder) -> tuple[FrozenPart | None, DualEncoder]:
    """The part of a fitted model that stays, None where all of it trains, and the model that trains.

    Where a part stays, the model on top of it is fresh: fit it to the anchors' new features.
    """
    image, report = model.image_tower.split(), model.report_tower.split()
    if image is None or report is None:
        return None, model
    return FrozenPart(image[0], report[0]), DualEncoder(image[1], report[1], model.hash_head, model.adversary)


def first_model(encoder: Encoder, anchors: AnchorFeatures, config: RunConfig) -> DualEncoder:
    """A fresh model fitted to the anchors, on the run's device; the same arguments give the same bits.

    Raises:
        ConfigError: There are too few anchors for the embedding.
    """
    model = fresh_model(encoder, config).to(config.device)
    fit_to_public(model, anchors.to(config.device), config)
    return model


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a federation starts from.

    Attributes:
        frozen: The part of the first model that stays; None where all of it trains.
        model: The model that trains, fitted to the anchors.
        anchors: The anchors as that model sees them, on the run's device.
    """

    frozen: FrozenPart | None
    model: DualEncoder
    anchors: AnchorFeatures


def start_of(model: DualEncoder, anchors: AnchorFeatures, config: RunConfig) -> Start:
    """Part the first model, and fit what trains to the anchors.

    Raises:
        ConfigError: There are too few anchors for the embedding.
    """
    on_device = anchors.to(config.device)
    frozen, trained = split_frozen(model)
    if frozen is None:
        return Start(frozen=None, model=trained, anchors=on_device)
    seen = frozen.sees(on_device)
    fit_to_public(trained, seen, config)
    return Start(frozen=frozen, model=trained, anchors=seen)


def _fit_hash_head(
    model: DualEncoder, embeddings: AnchorFeatures, config: RunConfig, generator: torch.Generator
) -> None:
    """Fit the hash head to the anchors' embeddings, which stay as they are."""
    contrast = InBatchContrast(temperature=config.loss.temperature)
    objective = build_objective(config.loss, config.code).of_public(contrast)
    head = model.hash_head

    def code_value(images: Tensor, reports: Tensor) -> Tensor:
        image, report = (Embedded(embedding, relaxed_codes(head, embedding)) for embedding in (images, reports))
        public = Public(image, report, head.prototypes, head.centres).prefix(drawn_width(config.code, generator))
        return objective(image, report, public).mean()

    batch_size = config.public_fit.batch_size
    _fit([head.weight], code_value, lambda: embeddings.draw_patients(batch_size, generator), config)


def _fit(
    parameters: Sequence[Tensor],
    value: Callable[[Tensor, Tensor], Tensor],
    draw: Callable[[], tuple[Tensor, Tensor]],
    config: RunConfig,
) -> None:
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    fit = config.public_fit
    if not (fit.steps and trained):
        return
    optimizer = torch.optim.AdamW(trained, lr=fit.learning_rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, fit.learning_rate, total_steps=fit.steps + 1)
    for _ in range(fit.steps):
        gradients = torch.autograd.grad(value(*draw()), trained)
        for parameter, gradient in zip(trained, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        schedule.step()
    for parameter in trained:
        parameter.grad = None
