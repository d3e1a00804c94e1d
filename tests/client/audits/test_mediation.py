"""A gap is cut into parts that add up, and is seen in the half that was worsened; the clean twin is silent."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from client.audits.interface import Verdict
from client.audits.mediation import audit_mediation, parts_of_gap
from client.audits.studies import AuditedStudies
from common.types import StudyRecord

NUM = 300


def drawn(*, worse: str, findings: bool = True) -> tuple[AuditedStudies, np.ndarray, np.ndarray]:
    """Studies whose two halves tell six findings, with more noise in one half of every fourth patient."""
    rng = np.random.default_rng(7)
    truth = rng.normal(size=(NUM, 6))
    in_group_N1 = np.arange(NUM)[:, None] % 4 == 0
    images, reports = (
        truth + np.where(in_group_N1 & (half == worse), 4.0, 1.0) * rng.normal(size=truth.shape) for half in ("i", "r")
    )
    records = tuple(
        StudyRecord(
            study_id=f"s{i:03d}",
            patient_id=f"p{i:03d}",
            report="",
            race="Black" if i % 4 == 0 else "White",
            findings=tuple(f"finding {k}" for k in range(6) if findings and truth[i, k] > 0.5),
        )
        for i in range(NUM)
    )
    return AuditedStudies(records, np.zeros((NUM, 64, 64), dtype=np.uint8), NUM), images, reports


@pytest.mark.parametrize(
    ("worse", "subjects"),
    [("i", ["race Black, through images"]), ("r", ["race Black, through reports"]), ("neither", [])],
)
def test_gap_is_found_in_the_half_that_was_worsened(worse: str, subjects: list[str]) -> None:
    assert [finding.subject for finding in audit_mediation(*drawn(worse=worse)).found] == subjects


def test_without_findings_it_cannot_be_told() -> None:
    audited = audit_mediation(*drawn(worse="i", findings=False))
    assert [finding.verdict for finding in audited.findings] == [Verdict.CANNOT_TELL]


def test_parts_are_slope_times_gap_in_quality_as_plain_regression_has_them() -> None:
    """Against scipy on a gap that goes through images alone: the part is the whole gap, and nothing is direct."""
    rng = np.random.default_rng(2)
    member = np.arange(400) % 3 == 0
    quality = rng.normal(size=(400, 2)) - np.outer(member, [1.0, 0.0])
    match = 0.5 * quality[:, 0] + 0.01 * rng.normal(size=400)
    images, reports = parts_of_gap(match, quality, member)
    slope = stats.linregress(quality[:, 0], match).slope
    assert images == pytest.approx(slope * (quality[~member, 0].mean() - quality[member, 0].mean()), rel=0.02)
    assert reports == pytest.approx(0.0, abs=0.01)
    assert images + reports == pytest.approx(match[~member].mean() - match[member].mean(), abs=0.01)
