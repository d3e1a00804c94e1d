"""Augmentation multiplicity: several views of each study, averaged before the clip (De et al., arXiv 2204.13650).

Views are more rows of the same patient, so the sensitivity stays the clip norm and no privacy is spent. A view's shift
and gain must be as secret as the noise, or removing one patient would change the views of the others in a known way:
under privacy they come from the operating system's entropy.

Shapes: R studies, V views, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from client.dp.records import Records
from common.errors import ConfigError

SHIFT = 0.04
"""Greatest shift of a view, over the side of the image; the edge is repeated."""

GAIN = 0.1
"""Greatest change of a view's brightness, over its brightness."""

_PIXEL_DIMENSIONS = 3


@dataclass(frozen=True)
class Views:
    """How many views of each study a step reads.

    Attributes:
        number: V; 1 reads the study itself.
    """

    number: int

    def secret(self, records: Records) -> Records:
        """The views that a private step reads, from the operating system's entropy."""
        return self.of(records, np.random.default_rng())

    def of(self, records: Records, generator: np.random.Generator) -> Records:
        """V rows for each study, in the order of the studies.

        Raises:
            ConfigError: More than one view is asked for and the image features are not pixels.
        """
        if self.number == 1:
            return records
        if records.images.dtype != torch.uint8 or records.images.dim() != _PIXEL_DIMENSIONS:
            raise ConfigError(
                f"training.augmentations={self.number}: views are made from pixels, and this encoder trains on "
                "computed features; set training.augmentations=1, or a scratch encoder with encoder.trainable=all"
            )
        rows = torch.arange(len(records.patients), device=records.patients.device).repeat_interleave(self.number)
        return Records(_view(records.images[rows], generator), records.reports[rows], records.patients[rows])


NO_VIEWS = Views(1)


def _view(pixels_RHW: Tensor, generator: np.random.Generator) -> Tensor:
    num, height, width = pixels_RHW.shape
    rows = _shifted(num, height, generator).to(pixels_RHW.device)
    columns = _shifted(num, width, generator).to(pixels_RHW.device)
    image = torch.arange(num, device=pixels_RHW.device)[:, None, None]
    moved = pixels_RHW[image, rows[:, :, None], columns[:, None, :]]
    gain = torch.from_numpy(generator.uniform(1 - GAIN, 1 + GAIN, (num, 1, 1))).to(moved.device, torch.float32)
    return (moved * gain).round().clamp(0, 255).to(torch.uint8)


def _shifted(num: int, side: int, generator: np.random.Generator) -> Tensor:
    """Positions `[num, side]` to read, each row shifted by its own whole number of pixels."""
    most = max(1, round(SHIFT * side))
    shift = torch.from_numpy(generator.integers(-most, most, size=(num, 1), endpoint=True))
    return (torch.arange(side) + shift).clamp(0, side - 1)
