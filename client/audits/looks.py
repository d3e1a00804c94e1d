"""How pictures look in each of their places: a public grid of crops, embedded, and clustered over all pictures.

The regions of RAVL (Varma et al., 2024, arXiv:2411.04097), with two changes for a few hundred studies of one kind.
Crops are compared with those of the same place only, since medical pictures lie alike; and clusters are few, their
unions count, too, so that a letter is seen whether it takes one of them or several.

A crop is looked at less its blurred self: letters, edges and devices stay, exposure does not.

Shapes: N pictures, F pixels of a crop, D components, L looks.
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
"""Of each place; with their unions there are about twice as many looks."""

NUM_COMPONENTS = 8
BLUR = 2.0
"""Deviation of the blur in pixels of `SIDE`, as wide as a stroke of a letter."""

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
    detail_NHW = small_NHW - ndimage.gaussian_filter(small_NHW, (0.0, BLUR, BLUR))
    present: list[Array] = [np.zeros((len(pictures), 0))]
    places: list[Place] = []
    for place in map(Place, range(GRID**2)):
        crop_NF = detail_NHW[:, *place.window(SIDE)].reshape(len(pictures), -1)
        present.append(_clusters(crop_NF))
        places += [place] * present[-1].shape[1]
    return Looks(present=np.hstack(present), places=tuple(places))


def _clusters(crop_NF: Array) -> Array:
    """Ones where a crop is in a cluster, or in one of the unions that Ward's tree of them makes, `[N, L]`."""
    component_ND = _components(crop_NF)
    num = min(NUM_CLUSTERS, len(np.unique(component_ND.round(6), axis=0)))
    if num < 2:
        return np.zeros((len(crop_NF), 0))
    fitted = KMeans(num, n_init=1, random_state=0).fit(component_ND)
    columns = list((fitted.labels_[:, None] == np.arange(num)).astype(np.float64).T)
    for first, second, _, _ in linkage(fitted.cluster_centers_, "ward")[:-1]:  # the last holds everything
        columns.append(columns[int(first)] + columns[int(second)])
    return np.stack(columns, axis=1)


def _components(crop_NF: Array) -> Array:
    """Principal components in units of their spread, without those that do not vary."""
    fitted = PCA(min(NUM_COMPONENTS, len(crop_NF)), random_state=0).fit(crop_NF)
    spread_D = np.sqrt(fitted.explained_variance_)
    known_D = spread_D > 1e-6
    return np.asarray(fitted.transform(crop_NF)[:, known_D] / spread_D[known_D])


def _third(position: int) -> int:
    """0, 1 or 2 for the first two places of a row or column, those between, and the last two."""
    return 0 if position < 2 else 1 if position < GRID - 2 else 2
