"""The model that a consortium trains: an image tower, a report tower, and one hash head that both share.

Where groups are to be hidden, an adversary reads what the two make.

Shapes: B batch, D embedding, K bits.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from common.encoders.adversary import Adversary
from common.encoders.interface import Encoder, Tower
from common.encoders.rows import Rows, batches
from common.hashing.head import HashHead, relaxed_codes


class Embedded(NamedTuple):
    """One modality after its tower.

    Attributes:
        embedding: `[B, D]`, of unit length.
        code: `[B, K]`, relaxed code in (-1, 1); its sign is the code.
        group: `[B, G]`, what an adversary makes of both; None where the model has none.
        present: `[B]`, bool, which studies have this half; None where all have. What stands for others is public.
        view: The same images in another view, which the invariance compares; None where there is none.
    """

    embedding: Tensor
    code: Tensor
    group: Tensor | None = None
    present: Tensor | None = None
    view: Embedded | None = None

    def prefix(self, bits: int) -> Embedded:
        """The same with the first bits of the code alone."""
        view = None if self.view is None else self.view.prefix(bits)
        return self._replace(code=self.code[:, :bits], view=view)


class DualEncoder(nn.Module):
    """Image tower, report tower and hash head; features in, embeddings and relaxed codes out."""

    def __init__(
        self, image_tower: Tower, report_tower: Tower, hash_head: HashHead, adversary: Adversary | None = None
    ) -> None:
        super().__init__()
        self.image_tower = image_tower
        self.report_tower = report_tower
        self.hash_head = hash_head
        self.adversary = adversary

    def embed_images(self, features: Tensor) -> Embedded:
        """Embeddings and relaxed codes of image features `[B, ...]`."""
        return self._embed(self.image_tower(features))

    def embed_reports(self, features: Tensor) -> Embedded:
        """Embeddings and relaxed codes of report features `[B, ...]`."""
        return self._embed(self.report_tower(features))

    def embed_views(self, features: Tensor) -> Embedded:
        """As `embed_images`, of images in another view: an adversary reads none of them."""
        return self._coded(self.image_tower(features))

    def forward(self, images: Tensor, reports: Tensor) -> tuple[Embedded, Embedded]:
        """Both modalities of B pairs."""
        return self.embed_images(images), self.embed_reports(reports)

    def _embed(self, raw: Tensor) -> Embedded:
        coded = self._coded(raw)
        if self.adversary is None:
            return coded
        return coded._replace(group=self.adversary(self.adversary.seen(coded.embedding, coded.code)))

    def _coded(self, raw: Tensor) -> Embedded:
        embedding = normalize(raw, dim=-1)
        # Detached: the code's losses train the hash head alone, so that codes never cost retrieval by embedding.
        return Embedded(embedding, relaxed_codes(self.hash_head, embedding.detach()))


def unfitted(
    encoder: Encoder,
    *,
    embedding_dim: int,
    bit_width: int,
    num_centres: int,
    generator: torch.Generator,
    adversary: Adversary | None = None,
) -> DualEncoder:
    """A model before any fit; its random start comes from `generator` alone."""
    image_tower, report_tower = encoder.towers(generator)
    head = HashHead(embedding_dim=embedding_dim, bit_width=bit_width, num_centres=num_centres, generator=generator)
    return DualEncoder(image_tower, report_tower, head, adversary)


def trainable_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the parameters that training moves and that an update holds, in the model's order."""
    return tuple(name for name, parameter in model.named_parameters() if parameter.requires_grad)


def embed_in_batches(
    model: DualEncoder, images: Rows, reports: Rows, *, batch_size: int = 256
) -> tuple[Embedded, Embedded]:
    """Both modalities of N pairs without gradients, `batch_size` at a time so that memory stays bounded.

    Raises:
        DataError: They lie on a disk and cannot be read.
    """
    model.eval()
    with torch.no_grad():
        parts = [
            model(image_part, report_part)
            for image_part, report_part in zip(batches(images, batch_size), batches(reports, batch_size), strict=True)
        ]
    image_parts, report_parts = zip(*parts, strict=True)
    return _joined(image_parts), _joined(report_parts)


def _joined(parts: tuple[Embedded, ...]) -> Embedded:
    return Embedded(torch.cat([p.embedding for p in parts]), torch.cat([p.code for p in parts]))
