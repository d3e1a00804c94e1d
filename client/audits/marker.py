"""Where a picture bears a marker: letters of lead or of software are small, bright, and lie in the corners.

No table says which pictures have one, and a model may learn a letter in place of a disease (Zech et al., 2018,
10.1371/journal.pmed.1002683).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from common.types import Image

PLACES = ("upper left", "upper right", "lower left", "lower right")
BRIGHT, ABOVE = 225, 40
"""Grey level of a marker, and how far it stands above the corner around it."""

LEAST_SHARE, MOST_SHARE = 0.01, 0.16
"""Of a corner's area."""


def marker_places(pictures: Sequence[Image]) -> NDArray[np.float64]:
    """Ones where a picture bears a marker in a corner, `[N, 4]`, in the order of `PLACES`."""
    return np.array([[_has_marker(window) for window in _corners(picture)] for picture in pictures], dtype=np.float64)


def _corners(picture: Image) -> tuple[Image, ...]:
    side = len(picture) // 4
    upper, lower = picture[:side], picture[-side:]
    return upper[:, :side], upper[:, -side:], lower[:, :side], lower[:, -side:]


def _has_marker(window: Image) -> bool:
    """Whether something bright of a letter's size lies in the window."""
    bright = window >= max(BRIGHT, float(np.median(window)) + ABOVE)
    labels, num = ndimage.label(bright, structure=np.ones((3, 3)))
    sizes = ndimage.sum_labels(bright, labels, range(1, num + 1))
    return any(LEAST_SHARE <= size / window.size <= MOST_SHARE for size in np.atleast_1d(sizes))
