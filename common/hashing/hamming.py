"""Hamming distances of packed codes, exact, by faiss.

Exact search of a million codes takes about a millisecond a query on one core, so nothing here approximates;
an exact ranking is also what keeps certificates valid.

Shapes: A and B codes of either side, P bytes a code.
"""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from common.hashing.codes import Codes


def hamming_distances(first_AP: Codes, second_BP: Codes) -> NDArray[np.int32]:
    """The number of bits in which each pair of codes differs, `[A, B]`.

    Raises:
        ValueError: The two sides differ in bit width.
    """
    if first_AP.shape[1] != second_BP.shape[1]:
        raise ValueError(
            f"codes of {first_AP.shape[1] * 8} and of {second_BP.shape[1] * 8} bits cannot be compared: "
            "both sides need the model of one run"
        )
    shape = (len(first_AP), len(second_BP))
    distances_AB = np.zeros(shape, dtype=np.int32)
    if 0 in shape:
        return distances_AB
    bit_width = second_BP.shape[1] * 8
    index = faiss.IndexBinaryFlat(bit_width)
    index.add(second_BP)
    # No distance exceeds bit_width, so the range search returns every pair: a scan, where a search for all
    # neighbours would also sort them.
    _, found, ids = index.range_search(first_AP, bit_width + 1)
    np.put_along_axis(distances_AB, ids.reshape(shape), found.reshape(shape).astype(np.int32), axis=1)
    return distances_AB
