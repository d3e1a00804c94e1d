"""Retrieval by shared findings: what counts as right, and who is left out."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from common.encoders.dual import Embedded
from common.types import StudyRecord
from simulations.measurement.by_findings import bits_used, findings_metrics

FINDINGS = [("effusion",), ("effusion", "nodule"), ("nodule",), (), ("mass",)]


def embedded(seed: int, rows: int = 5) -> Embedded:
    raw = torch.randn(rows, 48, generator=torch.Generator().manual_seed(seed))
    return Embedded(normalize(raw, dim=-1), torch.tanh(raw))


def records(findings: list[tuple[str, ...]]) -> list[StudyRecord]:
    return [
        StudyRecord(study_id=str(i), patient_id=str(i), report=f"report {i}", findings=held)
        for i, held in enumerate(findings)
    ]


def test_a_perfect_order_of_shared_findings_scores_one_and_studies_without_findings_do_not_ask() -> None:
    both = embedded(0)
    found = findings_metrics(both, both, records([("a",), ("b",), ("c",), (), ("d",)]))
    assert found is not None
    assert found["queries"] == 4
    assert found["embedding"] == {"map": 1.0, "map_at_10": 1.0, "ndcg_at_10": 1.0}


def test_a_report_of_another_patient_with_the_finding_is_right() -> None:
    images, reports = embedded(0), embedded(1)
    found = findings_metrics(images, reports, records(FINDINGS))
    assert found is not None
    scores = (images.embedding @ reports.embedding.T).numpy()
    rank_of_own_mass = int((scores[4] > scores[4, 4]).sum()) + 1
    precisions = []
    for query, right in enumerate([{0, 1}, {0, 1, 2}, {1, 2}]):
        order = scores[query].argsort()[::-1].tolist()
        hits = [rank for rank, item in enumerate(order, start=1) if item in right]
        precisions.append(sum(i / rank for i, rank in enumerate(hits, start=1)) / len(right))
    assert found["embedding"]["map"] == pytest.approx((sum(precisions) + 1 / rank_of_own_mass) / 4)


def test_studies_that_name_no_findings_give_no_figure() -> None:
    assert findings_metrics(embedded(0), embedded(1), records([()] * 5)) is None


def test_bits_of_both_modalities_count_together() -> None:
    ones = Embedded(torch.ones(5, 48), torch.ones(5, 48))
    zeros = Embedded(torch.ones(5, 48), -torch.ones(5, 48))
    assert bits_used(ones, ones)["balance"] == 0
    assert bits_used(ones, zeros) == {"balance": 1.0, "correlation": 1.0, "entropy": 1.0}
