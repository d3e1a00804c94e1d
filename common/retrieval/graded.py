"""Retrieval by what studies have in common: two studies answer one another as far as they share findings.

A study's own report is one answer among many that a reader would accept. Here the gain of an item is the number of
findings that it shares with the query, as in multi-label hashing. A query whose findings nobody shares, or that has
none, says nothing and is left out: no finding is no label.

Shapes: Q queries, G gallery.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.types import StudyRecord


def shared_findings(queries: Sequence[StudyRecord], gallery: Sequence[StudyRecord]) -> NDArray[np.int64]:
    """How many findings each query shares with each item, `[Q, G]`."""
    names = sorted({finding for record in (*queries, *gallery) for finding in record.findings})
    shared_QG: NDArray[np.int64] = _held(queries, names) @ _held(gallery, names).T
    return shared_QG


def ndcg(scores_QG: NDArray[np.number], gains_QG: NDArray[np.int64], *, k: int | None = None) -> NDArray[np.float64]:
    """Normalised discounted cumulative gain of the first k items, or of all, `[Q]`.

    Tied items count with the mean of their gains, the exact expectation over their orders (McSherry and Najork 2008,
    ECIR, doi:10.1007/978-3-540-78646-7_38). An item at rank i counts 1 / log2(i + 1).

    Args:
        scores_QG: Larger is more similar.
        gains_QG: Gain of each item, 0 or more.
        k: Depth; None is the whole gallery.

    Raises:
        ValueError: The shapes differ, or a query has no item with a gain.
    """
    if scores_QG.shape != gains_QG.shape:
        raise ValueError(f"scores {scores_QG.shape} and gains {gains_QG.shape} must have one shape, [Q, G]")
    if not gains_QG.any(axis=1).all():
        raise ValueError("a query shares nothing with any item; leave it out")
    discount_K = 1 / np.log2(np.arange(2, gains_QG.shape[1] + 2))[:k]
    values = [
        (_mean_gains(scores, gains)[:k] @ discount_K) / (np.sort(gains)[::-1][:k] @ discount_K)
        for scores, gains in zip(scores_QG, gains_QG, strict=True)
    ]
    return np.array(values)


def _mean_gains(scores_G: NDArray[np.number], gains_G: NDArray[np.int64]) -> NDArray[np.float64]:
    """Expected gain of each rank, best first, `[G]`: the mean over the items that tie for it."""
    _, block_G, sizes = np.unique(-scores_G, return_inverse=True, return_counts=True)
    means: NDArray[np.float64] = np.bincount(block_G, weights=gains_G) / sizes
    return np.repeat(means, sizes)


def _held(records: Sequence[StudyRecord], names: Sequence[str]) -> NDArray[np.int64]:
    column = {name: position for position, name in enumerate(names)}
    held = np.zeros((len(records), len(names)), dtype=np.int64)
    for row, record in enumerate(records):
        held[row, [column[finding] for finding in record.findings]] = 1
    return held
