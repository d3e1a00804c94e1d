"""The greys of a picture as an encoder sees them: as recorded, or equalised, so that another unit's look is the same.

Exposure, gain, gamma and display curve of a unit change greys by a curve that never falls. Histogram equalisation gives
each grey the share of the picture's pixels that are darker, which no such curve changes, up to rounding and to greys
that it merges (after Nyul and Udupa 1999, doi:10.1002/(SICI)1522-2594(199912)42:6<1072::AID-MRM11>3.0.CO;2-M, who bring
units to one scale). What a unit adds to the picture beside its curve, such as a marker, blur or noise, stays.

Each picture is read by itself, the same at every hospital and of the public set: no attribute, no other patient and no
budget is asked for. Edge case: a picture of one grey becomes middle grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from common.encoders.interface import Encoder, FeatureKeys, Prefix, Tower
from common.types import Image

RECORDED, EQUALISED = "recorded", "equalised"
"""What `encoder.tone` may be."""
_GREYS = 256
_VERSION = 1
"""Of the computation: features of another are not taken from the cache."""


def with_tone(encoder: Encoder, tone: str) -> Encoder:
    """An encoder that sees pictures in a tone."""
    return _OfEqualised(encoder) if tone == EQUALISED else encoder


def equalised(image: Image) -> Image:
    """The picture `[H, W]` with its greys spread over the whole range, as evenly as their order allows."""
    count_of = np.bincount(image.ravel(), minlength=_GREYS)
    darker = np.cumsum(count_of) - count_of / 2  # half of the grey's own: so that light and dark are treated alike
    return np.rint((_GREYS - 1) * darker / image.size).astype(np.uint8)[image]


class _OfEqualised:
    """An encoder of equalised pictures; reports are as they were."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        keys = encoder.keys
        self.keys = None if keys is None else FeatureKeys(f"{keys.image}-{EQUALISED}-v{_VERSION}", keys.report)

    def image_features(self, images: Sequence[Image]) -> Tensor:
        """See `Encoder`."""
        return self.encoder.image_features([equalised(image) for image in images])

    def report_features(self, reports: Sequence[str]) -> Tensor:
        """See `Encoder`."""
        return self.encoder.report_features(reports)

    def image_prefix(self) -> Prefix[Image]:
        """See `Encoder`."""
        prefix = self.encoder.image_prefix()
        return replace(prefix, prepare=lambda images: prefix.prepare([equalised(image) for image in images]))

    def report_prefix(self) -> Prefix[str]:
        """See `Encoder`."""
        return self.encoder.report_prefix()

    def towers(self, generator: torch.Generator) -> tuple[Tower, Tower]:
        """See `Encoder`."""
        return self.encoder.towers(generator)
