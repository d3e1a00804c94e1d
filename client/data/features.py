"""Frozen features of studies, looked up by content before they are computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from torch import Tensor

from common.encoders.cache import FeatureCache
from common.encoders.interface import Encoder
from common.types import Image

T = TypeVar("T")

STUDIES_AT_ONCE = 256
"""Decoded images in memory at a time."""


@dataclass(frozen=True)
class CachedEncoder:
    """An encoder and the folder of its features.

    Attributes:
        encoder: Its frozen half computes what the cache lacks.
        cache: Not used where the encoder names no features.
    """

    encoder: Encoder
    cache: FeatureCache

    def image_features(self, images: Sequence[Image], digests: Sequence[str]) -> Tensor:
        """Features `[B, ...]` of images with these content digests."""
        keys, compute = self.encoder.keys, self.encoder.image_features
        if keys is None:
            return compute(images)
        return self.cache.features(images, digests, key=keys.image, compute=compute)

    def report_features(self, reports: Sequence[str], digests: Sequence[str]) -> Tensor:
        """Features `[B, ...]` of reports with these content digests."""
        keys, compute = self.encoder.keys, self.encoder.report_features
        if keys is None:
            return compute(reports)
        return self.cache.features(reports, digests, key=keys.report, compute=compute)


def in_batches(items: Iterable[T], *, size: int = STUDIES_AT_ONCE) -> Iterator[list[T]]:
    """The items, so many at a time."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
