"""How pictures look in each of their places: a public grid of crops, embedded, and clustered over all pictures.

The regions of RAVL (Varma et al., 2024, arXiv:2411.04097), with two changes for a few hundred studies of one kind.
Crops are compared with those of the same place only, since medical pictures lie alike; and clusters are few, their
unions count, too, so that a letter is seen whether it takes one of them or several.

A crop is looked at twice: for what is small and bright (its white top-hat: letters, wires and clips stay, while
exposure, anatomy and the edge of the collimation go), and for shade (block means less the crop's own).

Shapes: N pictures, F figures of a crop, D components, L looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.cluster.hierarchy import linkage
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from client.audits.studies import SIDE, small_picture
from common.types import Image

GRID = 7
"""Places in a row and in a column; each overlaps half of the next."""

NUM_CLUSTERS = 16
"""Of each place, seen in one of the two ways; with their unions there are about twice as many looks."""

NUM_COMPONENTS = 8
SMALL = 5
"""Pixels of `SIDE`; what is as wide and as high is not small."""

BLOCK = 4
"""Pixels of `SIDE` that a shade is the mean of."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """One of the grid's places.

    Attributes:
        number: Its number, row by row.
    """

    number: int

    @property
    def words(self) -> str:
        """Where it lies, to a person who looks at the picture."""
        row, column = divmod(self.number, GRID)
        vertical, horizontal = ("upper", "middle", "lower")[_third(row)], ("left", "middle", "right")[_third(column)]
        return "middle" if vertical == horizontal else f"{vertical} {horizontal}"

    def window(self, side: int) -> tuple[slice, slice]:
        """Its rows and columns in a picture of `side` pixels."""
        row, column = divmod(self.number, GRID)
        step = side // (GRID + 1)
        return slice(row * step, (row + 2) * step), slice(column * step, (column + 2) * step)


@dataclass(frozen=True, kw_only=True)
class Looks:
    """The looks of all places.

    Attributes:
        present: Ones where a picture has a look, `[N, L]`.
        places: The place of each look.
    """

    present: Array
    places: tuple[Place, ...]


def looks_of(pictures: Sequence[Image]) -> Looks:
    """The looks of pictures of any size, found without any label.

    A look is a cluster of one place's crops, or a union of such; a place where all pictures are the same has none.
    """
    small_NHW = np.stack([small_picture(picture, SIDE) for picture in pictures]).astype(np.float64) / 255.0
    bright_NHW = small_NHW - ndimage.grey_opening(small_NHW, size=(1, SMALL, SMALL))
    present: list[Array] = [np.zeros((len(pictures), 0))]
    places: list[Place] = []
    for place in map(Place, range(GRID**2)):
        window = place.window(SIDE)
        for seen_NF in (bright_NHW[:, *window].reshape(len(pictures), -1), _shades(small_NHW[:, *window])):
            present.append(_clusters(seen_NF))
            places += [place] * present[-1].shape[1]
    return Looks(present=np.hstack(present), places=tuple(places))


def _shades(crop_NHW: Array) -> Array:
    """Block means less the crop's own, `[N, F]`."""
    num, side = len(crop_NHW), crop_NHW.shape[1] // BLOCK
    mean_NF = crop_NHW.reshape(num, side, BLOCK, side, BLOCK).mean(axis=(2, 4)).reshape(num, -1)
    return np.asarray(mean_NF - mean_NF.mean(axis=1, keepdims=True))


def _clusters(seen_NF: Array) -> Array:
    """Ones where a crop is in a cluster, or in one of the unions that Ward's tree of them makes, `[N, L]`."""
    num = min(NUM_CLUSTERS, len(np.unique(seen_NF.round(6), axis=0)))
    if num < 2:
        return np.zeros((len(seen_NF), 0))
    component_ND = PCA(min(NUM_COMPONENTS, *seen_NF.shape), random_state=0).fit_transform(seen_NF)
    fitted = KMeans(num, n_init=1, random_state=0).fit(component_ND)
    columns = list((fitted.labels_[:, None] == np.arange(num)).astype(np.float64).T)
    for first, second, _, _ in linkage(fitted.cluster_centers_, "ward")[:-1]:  # the last holds everything
        columns.append(columns[int(first)] + columns[int(second)])
    return np.stack(columns, axis=1)


def _third(position: int) -> int:
    """0, 1 or 2 for the first two places of a row or column, those between, and the last two."""
    return 0 if position < 2 else 1 if position < GRID - 2 else 2
