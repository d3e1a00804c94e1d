"""Views of a study: several that are averaged before the clip, and one beside each that the objective compares with it.

Augmentation multiplicity (De et al., arXiv 2204.13650): views are more rows of the same patient. A view beside a row is
part of that row (`common/losses/invariance.py`). Either way the patient's clip covers them: the sensitivity stays the
clip norm. A view's shift and gain must be as secret as the noise, or removing one patient would change the views of the
others in a known way: under privacy they come from the operating system's entropy.

Shapes: R studies, V views, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from client.dp.records import Records, Sample
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
        compared: Whether each row that is read has one more view beside it.
    """

    number: int
    compared: bool = False

    def refuse_features(self, images: Tensor) -> None:
        """Return where images as the tower sees them are pixels, or no view is asked for.

        Args:
            images: Some or none of them.

        Raises:
            ConfigError: They are not.
        """
        if images.dtype == torch.uint8 and images.dim() == _PIXEL_DIMENSIONS:
            return
        for is_asked, key, remedy in (
            (self.number > 1, f"training.augmentations={self.number}", "set training.augmentations=1"),
            (self.compared, "loss.name: invariance", "leave invariance out"),
        ):
            if is_asked:
                raise ConfigError(
                    f"{key}: views are made from pixels, and this encoder trains on computed features; {remedy}, or "
                    "take a scratch encoder with encoder.trainable=all"
                )

    def secret(self, sample: Sample) -> Sample:
        """The views that a private step reads, from the operating system's entropy."""
        return self.of(sample, np.random.default_rng())

    def of(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """V rows for each study, in the order of the studies; views are drawn when they are read."""
        rows = sample if self.number == 1 else _Viewed(sample, self.number, generator)
        return _Beside(rows, generator) if self.compared else rows


class _Viewed(Sample):
    """The views of a sample."""

    def __init__(self, sample: Sample, number: int, generator: np.random.Generator) -> None:
        self._sample, self._number, self._generator = sample, number, generator
        self.patients = sample.patients.repeat_interleave(number)
        self.weights = None if sample.weights is None else sample.weights.repeat_interleave(number)
        self.groups = None if sample.groups is None else sample.groups.repeat_interleave(number)

    def rows(self, rows: Tensor | slice) -> Records:
        """See `Sample`."""
        study_of_R = torch.arange(len(self.patients))[rows] // self._number
        studies, row_of_R = study_of_R.unique_consecutive(return_inverse=True)
        read = self._sample.rows(studies.to(self._sample.patients.device))
        each = read.rows(row_of_R.to(read.patients.device))
        return replace(each, images=_view(each.images, self._generator))


class _Beside(Sample):
    """A sample, each row with one more view of its image."""

    def __init__(self, sample: Sample, generator: np.random.Generator) -> None:
        self._sample, self._generator = sample, generator
        self.patients, self.weights, self.groups = sample.patients, sample.weights, sample.groups

    def rows(self, rows: Tensor | slice) -> Records:
        """See `Sample`."""
        read = self._sample.rows(rows)
        return replace(read, views=_view(read.images, self._generator))


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
