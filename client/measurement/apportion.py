"""Whole parts of a patient, spread as their studies are.

Shapes: R rows, C cells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def apportioned(parts_R: NDArray[np.int64], weights_RC: NDArray[np.int64]) -> NDArray[np.int64]:
    """Spread each row's parts over its cells in proportion to its weights, `[R, C]`.

    What rounding down leaves goes to the largest remainders, the first cell of equal ones first (Hamilton's method): a
    row's cells are its parts altogether, and each is less than one away from its share.

    Args:
        parts_R: Not negative, `[R]`.
        weights_RC: Not negative, `[R, C]`; a row without weight gets no parts.
    """
    whole_R1 = np.maximum(weights_RC.sum(axis=1, keepdims=True), 1)
    shares_RC = parts_R[:, None] * weights_RC
    spread_RC, remainder_RC = np.divmod(shares_RC, whole_R1)
    left_R1 = np.where(weights_RC.any(axis=1), parts_R - spread_RC.sum(axis=1), 0)[:, None]
    rank_RC = np.argsort(np.argsort(-remainder_RC, axis=1, kind="stable"), axis=1, kind="stable")
    spread: NDArray[np.int64] = spread_RC + (rank_RC < left_R1)
    return spread
