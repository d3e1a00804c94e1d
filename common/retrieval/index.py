"""Exact search over a gallery of embeddings or of codes, behind one interface.

`search` serves a person who wants the k most similar studies; `scores` serves the metrics, which need all.
A larger score means more similar: cosine for embeddings, the negated Hamming distance for codes. Equal scores
are ranked by position in the gallery, so a search repeated anywhere gives the same answer.

Shapes: Q queries, G gallery, D embedding, P bytes a code, K hits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from common.hashing.codes import Codes, check_bit_width
from common.hashing.hamming import hamming_distances


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """The most similar gallery items of each query, best first.

    Attributes:
        ids_QK: Positions in the gallery.
        scores_QK: Their scores, never rising along a row.
    """

    ids_QK: NDArray[np.int64]
    scores_QK: NDArray[np.float32]


class Index(Protocol):
    """A gallery that can be searched exactly."""

    def search(self, queries: NDArray[Any], *, k: int) -> Hits:
        """The k best items of each query, or the whole gallery, ranked, where it holds fewer than k.

        Raises:
            ValueError: k is below 1, or the queries do not fit the gallery.
        """
        ...

    def scores(self, queries: NDArray[Any]) -> NDArray[np.float32]:
        """The score of every gallery item for every query, `[Q, G]`.

        Raises:
            ValueError: The queries do not fit the gallery.
        """
        ...


class EmbeddingIndex:
    """Cosine similarity of embeddings. A zero embedding has no direction: it scores 0 with everything.

    Args:
        embedding_GD: The gallery, of any length each.

    Raises:
        ValueError: The gallery is not `[G, D]`, or holds NaN or infinity.
    """

    def __init__(self, embedding_GD: NDArray[np.floating]) -> None:
        self._unit_GD = _unit_rows(embedding_GD, "gallery")

    def search(self, queries: NDArray[np.floating], *, k: int) -> Hits:
        """See `Index.search`; queries are embeddings `[Q, D]`."""
        unit_QD = self._unit_queries(queries)
        depth = _depth(k, len(self._unit_GD))
        ids_QK = np.empty((len(unit_QD), depth), dtype=np.int64)
        scores_QK = np.empty(ids_QK.shape, dtype=np.float32)
        # One query at a time: memory stays at one row of the gallery, however many queries come.
        for row, unit_D in enumerate(unit_QD):
            score_G = self._cosines(unit_D[None])[0]
            ids_QK[row] = np.argsort(-score_G, kind="stable")[:depth]
            scores_QK[row] = score_G[ids_QK[row]]
        return Hits(ids_QK, scores_QK)

    def scores(self, queries: NDArray[np.floating]) -> NDArray[np.float32]:
        """See `Index.scores`; queries are embeddings `[Q, D]`."""
        return self._cosines(self._unit_queries(queries))

    def _unit_queries(self, queries: NDArray[np.floating]) -> NDArray[np.float64]:
        unit_QD = _unit_rows(queries, "queries")
        if unit_QD.shape[1] != self._unit_GD.shape[1]:
            raise ValueError(
                f"queries of {unit_QD.shape[1]} dimensions against a gallery of {self._unit_GD.shape[1]}: "
                "both need the model of one run"
            )
        return unit_QD

    def _cosines(self, unit_QD: NDArray[np.float64]) -> NDArray[np.float32]:
        # Summed in float64 and told in float32, so that equal gallery items tie in spite of the order of summation.
        return (unit_QD @ self._unit_GD.T).astype(np.float32)


class CodeIndex:
    """Hamming distance over packed codes.

    Args:
        codes_GP: The gallery, as `common.hashing.codes.binarise` packs it.
        bit_width: Bits a code.

    Raises:
        ConfigError: The bit width is not one that codes can have.
        ValueError: The codes are not `bit_width / 8` bytes each.
    """

    def __init__(self, codes_GP: Codes, bit_width: int) -> None:
        check_bit_width(bit_width)
        self._bit_width = bit_width
        self._codes_GP = self._checked(codes_GP, "gallery")
        self._index = faiss.IndexBinaryFlat(bit_width)
        self._index.add(self._codes_GP)

    def search(self, queries: Codes, *, k: int) -> Hits:
        """See `Index.search`; queries are packed codes `[Q, P]`."""
        codes_QP = self._checked(queries, "queries")
        depth = _depth(k, len(self._codes_GP))
        if not len(codes_QP) or not depth:
            return Hits(np.empty((len(codes_QP), depth), np.int64), np.empty((len(codes_QP), depth), np.float32))
        distance_QK, ids_QK = self._index.search(codes_QP, depth)
        return Hits(ids_QK, -distance_QK.astype(np.float32))

    def scores(self, queries: Codes) -> NDArray[np.float32]:
        """See `Index.scores`; queries are packed codes `[Q, P]`."""
        return -hamming_distances(self._checked(queries, "queries"), self._codes_GP).astype(np.float32)

    def _checked(self, codes: Codes, what: str) -> Codes:
        if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] * 8 != self._bit_width:
            raise ValueError(
                f"{what}: {codes.dtype} of shape {list(codes.shape)} are no codes of {self._bit_width} bits; "
                "pack them with common.hashing.codes.binarise"
            )
        return codes


def _depth(k: int, gallery: int) -> int:
    if k < 1:
        raise ValueError(f"k={k}: a search returns at least one hit; ask for 1 or more")
    return min(k, gallery)


def _unit_rows(embedding: NDArray[np.floating], what: str) -> NDArray[np.float64]:
    if embedding.ndim != 2:
        raise ValueError(f"{what}: embeddings of shape {list(embedding.shape)} where [rows, dimensions] is needed")
    finite = np.isfinite(embedding).all(axis=1)
    if not finite.all():
        raise ValueError(f"{what}: the embedding of row {int(np.argmin(finite))} is NaN or infinite; leave it out")
    exact = embedding.astype(np.float64)
    length = np.linalg.norm(exact, axis=1, keepdims=True)
    return exact / np.where(length > 0, length, 1.0)
