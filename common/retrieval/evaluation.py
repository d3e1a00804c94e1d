"""Retrieval between images and reports of one set of studies, both ways, by embedding and by code.

The gallery of reports holds each distinct text once; several studies may share it. A hit is any item of the query's
split group: a report that a patient's images share answers each of them.

Shapes: N studies, R distinct reports, Q queries, G gallery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.encoders.dual import Embedded
from common.hashing.codes import binarise
from common.retrieval.index import CodeIndex, EmbeddingIndex
from common.retrieval.metrics import chance_recall_at, retrieval_metrics
from common.types import StudyRecord

TEXT_TO_IMAGE = "text_to_image_"

Values = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Direction:
    """One direction of retrieval.

    Attributes:
        queries: Study `[Q]` behind each query, as a position in the records.
        embedding: Each metric's value a query, `[Q]`, by cosine similarity.
        code: The same by Hamming distance.
    """

    queries: NDArray[np.int64]
    embedding: Values
    code: Values


@dataclass(frozen=True)
class Retrieval:
    """Both directions over one set of studies.

    Attributes:
        image_to_text: Images as queries, distinct reports as gallery.
        text_to_image: Distinct reports as queries, images as gallery.
        gallery: R.
        chance_recall_at_10: Recall at 10, image to text, of an order that knows nothing.
    """

    image_to_text: Direction
    text_to_image: Direction
    gallery: int
    chance_recall_at_10: float


def evaluate_retrieval(image: Embedded, report: Embedded, records: Sequence[StudyRecord]) -> Retrieval:
    """Retrieval over N studies.

    Args:
        image: The studies' images, N rows.
        report: Their reports, N rows.
        records: Their records.

    Raises:
        ValueError: There is no study, or an embedding holds NaN.
    """
    chosen, relevant_NR = distinct_reports(records)
    images, reports = _Half.of(image), _Half.of(report).rows(chosen)
    return Retrieval(
        image_to_text=_direction(images, reports, relevant_NR, np.arange(len(records))),
        text_to_image=_direction(reports, images, relevant_NR.T, chosen),
        gallery=len(chosen),
        chance_recall_at_10=chance_recall_at(10, relevant_NR),
    )


def distinct_reports(records: Sequence[StudyRecord]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The first study of each distinct report text `[R]`, and which of them answer which study `[N, R]`."""
    groups_of: dict[str, set[str]] = {}
    first: dict[str, int] = {}
    for position, record in enumerate(records):
        first.setdefault(record.report, position)
        groups_of.setdefault(record.report, set()).add(record.split_group)
    held = [groups_of[text] for text in first]
    relevant = [[record.split_group in groups for groups in held] for record in records]
    return np.array(list(first.values()), dtype=np.int64), np.array(relevant, dtype=bool)


@dataclass(frozen=True)
class _Half:
    embedding: NDArray[np.float32]
    code: NDArray[np.uint8]
    bit_width: int

    @classmethod
    def of(cls, embedded: Embedded) -> _Half:
        return cls(embedded.embedding.cpu().numpy(), binarise(embedded.code.cpu()), embedded.code.shape[1])

    def rows(self, chosen: NDArray[np.int64]) -> _Half:
        return _Half(self.embedding[chosen], self.code[chosen], self.bit_width)


def _direction(queries: _Half, gallery: _Half, relevant_QG: NDArray[np.bool_], studies: NDArray[np.int64]) -> Direction:
    by_embedding = EmbeddingIndex(gallery.embedding).scores(queries.embedding)
    by_code = CodeIndex(gallery.code, gallery.bit_width).scores(queries.code)
    return Direction(
        queries=studies,
        embedding=retrieval_metrics(by_embedding, relevant_QG),
        code=retrieval_metrics(by_code, relevant_QG),
    )
