"""The k nearest codes of a gallery where it lies, by faiss, with every tie at the k-th distance.

faiss searches the caller's own memory: nothing is copied but what a mask leaves of one block at a time. Exact at every
size, as all search here (`common/hashing/hamming.py`).

Shapes: N codes, P bytes a code, F found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from common.hashing.codes import Codes

_BLOCK_ROWS = 1 << 16
"""Codes of which a mask leaves some, copied at a time."""

_ROOM_FOR_TIES = 5
"""How many times k are asked for at first: more ties than that cost a second scan."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """Codes found, the nearest first; of equal distance, the one that lies first.

    Attributes:
        rows_F: Their positions in the gallery.
        distances_F: Their Hamming distances.
    """

    rows_F: NDArray[np.int64]
    distances_F: NDArray[np.int32]

    def within(self, distance: int) -> Nearest:
        """Those that are no farther than that."""
        end = int(self.distances_F.searchsorted(distance, side="right"))
        return Nearest(self.rows_F[:end], self.distances_F[:end])


def nearest(query_P: Codes, codes_NP: Codes, *, k: int, kept_N: NDArray[np.bool_] | None = None) -> Nearest:
    """The k nearest codes, and all that are as far as the k-th; fewer where the gallery holds fewer.

    Args:
        query_P: One packed code.
        codes_NP: The gallery, contiguous.
        k: 1 or more.
        kept_N: Which codes count; None for all.

    Raises:
        ValueError: k is below 1, or query, gallery and mask do not fit together.
    """
    _check(query_P, codes_NP, k, kept_N)
    query_1P = np.ascontiguousarray(query_P)[None]
    depth = _ROOM_FOR_TIES * k
    found = _merged(_first(query_1P, codes, rows, depth) for rows, codes in _blocks(codes_NP, kept_N))
    if len(found.rows_F) < k:
        return found
    farthest = int(found.distances_F[k - 1])
    if len(found.rows_F) >= depth and found.distances_F[depth - 1] == farthest:
        return all_within(query_P, codes_NP, farthest, kept_N=kept_N)
    return found.within(farthest)


def all_within(query_P: Codes, codes_NP: Codes, distance: int, *, kept_N: NDArray[np.bool_] | None = None) -> Nearest:
    """Every code that is no farther than that.

    Raises:
        ValueError: Query, gallery and mask do not fit together.
    """
    _check(query_P, codes_NP, 1, kept_N)
    query_1P = np.ascontiguousarray(query_P)[None]
    return _merged(_closer(query_1P, codes, rows, distance + 1) for rows, codes in _blocks(codes_NP, kept_N))


_Rows = slice | NDArray[np.int64]
"""Which rows of the gallery a block holds."""


def _blocks(codes_NP: Codes, kept_N: NDArray[np.bool_] | None) -> Iterator[tuple[_Rows, Codes]]:
    if kept_N is None:
        yield slice(0, len(codes_NP)), codes_NP
        return
    for start in range(0, len(codes_NP), _BLOCK_ROWS):
        rows = start + np.flatnonzero(kept_N[start : start + _BLOCK_ROWS])
        if len(rows):
            yield rows, codes_NP[rows]


def _first(query_1P: Codes, codes_NP: Codes, rows: _Rows, depth: int) -> Nearest:
    depth = min(depth, len(codes_NP))
    if not depth:
        return Nearest(np.empty(0, np.int64), np.empty(0, np.int32))
    distances, ids = faiss.knn_hamming(query_1P, codes_NP, depth)  # in order: faiss's heap compares ids, too
    return Nearest(_numbers(ids[0], rows), distances[0])


def _closer(query_1P: Codes, codes_NP: Codes, rows: _Rows, radius: int) -> Nearest:
    """All codes at less than a radius."""
    result = faiss.RangeSearchResult(1)
    faiss.hamming_range_search(  # type: ignore[attr-defined]  # not in faiss's own stubs
        faiss.swig_ptr(query_1P), faiss.swig_ptr(codes_NP), 1, len(codes_NP), radius, codes_NP.shape[1], result
    )
    number = int(faiss.rev_swig_ptr(result.lims, 2)[1])
    ids = faiss.rev_swig_ptr(result.labels, number).copy()
    distances = faiss.rev_swig_ptr(result.distances, number).astype(np.int32)
    return _in_order(_numbers(ids, rows), distances)


def _numbers(ids: NDArray[np.int64], rows: _Rows) -> NDArray[np.int64]:
    return ids if isinstance(rows, slice) else rows[ids]


def _merged(parts: Iterable[Nearest]) -> Nearest:
    """All of some parts, each of which is in order."""
    found = list(parts)
    if len(found) == 1:
        return found[0]
    rows_F = np.concatenate([np.empty(0, np.int64), *(part.rows_F for part in found)])
    distances_F = np.concatenate([np.empty(0, np.int32), *(part.distances_F for part in found)])
    return _in_order(rows_F, distances_F)


def _in_order(rows_F: NDArray[np.int64], distances_F: NDArray[np.int32]) -> Nearest:
    order = np.lexsort((rows_F, distances_F))
    return Nearest(rows_F[order], distances_F[order])


def _check(query_P: Codes, codes_NP: Codes, k: int, kept_N: NDArray[np.bool_] | None) -> None:
    if k < 1:
        raise ValueError(f"k={k}: a search returns at least one hit; ask for 1 or more")
    if query_P.dtype != np.uint8 or codes_NP.dtype != np.uint8 or query_P.shape != codes_NP.shape[1:]:
        raise ValueError(
            f"a query of {query_P.dtype} {list(query_P.shape)} does not fit codes of {codes_NP.dtype} "
            f"{list(codes_NP.shape[1:])}: both need the model of one run"
        )
    if not codes_NP.flags.c_contiguous:
        raise ValueError("the gallery's codes do not lie one after the other; copy them")
    if kept_N is not None and (kept_N.dtype != np.bool_ or kept_N.shape != codes_NP.shape[:1]):
        raise ValueError(f"a mask of {kept_N.dtype} {list(kept_N.shape)} does not fit {len(codes_NP)} codes")
