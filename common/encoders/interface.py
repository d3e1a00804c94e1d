"""What every encoder offers: frozen features of raw study parts, and trainable towers on top of them.

An encoder is cut in two. The *prefix* is public and frozen: it turns images and reports into feature tensors, which
are cached by content digest. The *towers* are trained: features in, embeddings out. An encoder without a frozen
part has a trivial prefix (pixels, token numbers). Training, privacy and wire see towers and features only.

Shapes: B batch, F features, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from common.types import Image

Item = TypeVar("Item")


class Tower(nn.Module):
    """Trainable half of an encoder for one modality: features `[B, ...]` to embeddings `[B, D]`, not yet normalised.

    A tower must be differentiable one record at a time under `torch.func.vmap(grad)`: no BatchNorm, no
    data-dependent Python branch, no in-place write to a buffer.
    """

    def fit_to_public(self, features: Tensor) -> None:  # noqa: ARG002 - towers with nothing to fit ignore them
        """Set the start of the tower from the anchors' features `[N, ...]` (for example whitened PCA).

        Raises:
            ConfigError: Fewer anchors than the embedding needs.
        """
        return

    def split(self) -> tuple[nn.Module, Tower] | None:
        """The part that stays as the public fit left it, and a fresh tower that trains on top; None where all trains.

        The first turns features into the features of the second, so that a federation computes them once.
        """
        return None


@dataclass(frozen=True)
class FeatureKeys:
    """Names of the two frozen computations: same key and same content mean the same features."""

    image: str
    report: str


@dataclass(frozen=True)
class Prefix(Generic[Item]):
    """The frozen computation of one modality in two parts, of which the second is a map of tensors alone.

    Attributes:
        prepare: Images or reports to the network's inputs, by name, in its order; the first dimension of each is B.
        network: Those inputs, in that order, to features `[B, ...]`.
    """

    prepare: Callable[[Sequence[Item]], Mapping[str, Tensor]]
    network: nn.Module


class Encoder(Protocol):
    """An image-report encoder, built from `EncoderConfig` by its registered factory."""

    keys: FeatureKeys | None
    """None where features are trivial to compute and not worth a cache."""

    def image_features(self, images: Sequence[Image]) -> Tensor:
        """Frozen features of grey images of any size, `[B, ...]`, on the CPU."""
        ...

    def report_features(self, reports: Sequence[str]) -> Tensor:
        """Frozen features of report texts, `[B, ...]`, on the CPU."""
        ...

    def image_prefix(self) -> Prefix[Image]:
        """The parts of `image_features`, for who takes the network elsewhere."""
        ...

    def report_prefix(self) -> Prefix[str]:
        """The parts of `report_features`."""
        ...

    def towers(self, generator: torch.Generator) -> tuple[Tower, Tower]:
        """Fresh image and report towers; their random start comes from `generator` alone."""
        ...
