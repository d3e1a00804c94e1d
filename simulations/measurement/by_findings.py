"""Retrieval by shared findings over the pooled gallery, and how well its codes use their bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.encoders.dual import Embedded
from common.hashing.bit_statistics import bit_statistics
from common.hashing.codes import binarise
from common.retrieval.evaluation import distinct_reports
from common.retrieval.graded import ndcg, shared_findings
from common.retrieval.index import CodeIndex, EmbeddingIndex
from common.retrieval.metrics import average_precision_at, retrieval_metrics
from common.types import StudyRecord

DEPTH = 10


def findings_metrics(image: Embedded, report: Embedded, records: Sequence[StudyRecord]) -> dict[str, Any] | None:
    """Image to report, where a report answers an image if they share a finding: the summary's `pooled.findings`.

    Returns:
        How many images have such an answer, and what embeddings and codes find of them; None where no study names
        findings.
    """
    chosen, _ = distinct_reports(records)
    gains_QG = shared_findings(records, [records[position] for position in chosen])
    queries = np.flatnonzero(gains_QG.any(axis=1))
    if not len(queries):
        return None
    gains_QG = gains_QG[queries]
    embedding = EmbeddingIndex(report.embedding.cpu().numpy()[chosen]).scores(image.embedding.cpu().numpy()[queries])
    code = CodeIndex(binarise(report.code)[chosen], report.code.shape[1]).scores(binarise(image.code)[queries])
    return {
        "queries": len(queries),
        "embedding": _metrics(embedding, gains_QG),
        "codes": _metrics(code, gains_QG),
    }


def bits_used(image: Embedded, report: Embedded) -> dict[str, float]:
    """Balance, correlation and entropy of the bits of both modalities' codes together: the summary's `pooled.bits`."""
    return asdict(bit_statistics(np.concatenate([binarise(image.code), binarise(report.code)])))


def _metrics(scores_QG: NDArray[np.float32], gains_QG: NDArray[np.int64]) -> dict[str, float]:
    relevant_QG = gains_QG > 0
    return {
        "map": float(retrieval_metrics(scores_QG, relevant_QG)["map"].mean()),
        "map_at_10": float(average_precision_at(DEPTH, scores_QG, relevant_QG).mean()),
        "ndcg_at_10": float(ndcg(scores_QG, gains_QG, k=DEPTH).mean()),
    }
