"""Precision and recall of a look-up: every item whose code lies within a Hamming radius of the query's.

Shapes: Q queries, G gallery, R radii.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class ByRadius:
    """Means over the queries at each radius from 0 to the bit width.

    Attributes:
        precision: Share of relevant items among those found, `[R]`; a query that finds nothing counts as 0.
        recall: Share of the relevant items that are found, `[R]`; never falling.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def by_radius(distances_QG: NDArray[np.integer], relevant_QG: NDArray[np.bool_], *, bit_width: int) -> ByRadius:
    """Precision and recall by radius.

    Args:
        distances_QG: Hamming distances.
        relevant_QG: Which items answer which query.
        bit_width: Bits a code, the largest radius.

    Raises:
        ValueError: The shapes differ, a distance is outside 0 to `bit_width`, or a query has no relevant item.
    """
    if distances_QG.shape != relevant_QG.shape:
        raise ValueError(f"distances {distances_QG.shape} and relevance {relevant_QG.shape} must have one shape")
    if distances_QG.size and not 0 <= distances_QG.min() <= distances_QG.max() <= bit_width:
        raise ValueError(f"distances must lie from 0 to {bit_width}, the bits of a code")
    if not relevant_QG.any(axis=1).all():
        raise ValueError("a query has no relevant item in the gallery; leave it out")
    found_QR = _within(distances_QG, np.ones_like(relevant_QG), bit_width)
    hits_QR = _within(distances_QG, relevant_QG, bit_width)
    return ByRadius(
        precision=(hits_QR / np.maximum(found_QR, 1)).mean(axis=0),
        recall=(hits_QR / hits_QR[:, -1:]).mean(axis=0),
    )


def _within(distances_QG: NDArray[np.integer], counted_QG: NDArray[np.bool_], bit_width: int) -> NDArray[np.int64]:
    """How many counted items lie within each radius, `[Q, R]`."""
    counts_QR = np.stack(
        [
            np.bincount(distances[counted], minlength=bit_width + 1)
            for distances, counted in zip(distances_QG, counted_QG, strict=True)
        ]
    )
    within_QR: NDArray[np.int64] = counts_QR.cumsum(axis=1)
    return within_QR
