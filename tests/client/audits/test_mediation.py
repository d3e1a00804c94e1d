"""A gap is cut into parts that add up, and is seen in the half that was worsened; the clean twin is silent."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from client.audits.interface import Verdict
from client.audits.linear import fit, folds_of
from client.audits.mediation import audit_mediation, losses, parts_of_gap, quality
from client.audits.permutation import PatientExchange, p_values
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


def reference_loss(half: np.ndarray, truth: np.ndarray, fold: np.ndarray, inside: np.ndarray) -> float:
    """The loss of quality in plain loops: a line a fold, learnt from everybody outside group and fold."""
    said, true = np.zeros_like(truth), np.zeros_like(truth)
    for study in range(len(truth)):
        weights = fit(half[(fold != fold[study]) & ~inside], truth[(fold != fold[study]) & ~inside])
        said[study], true[study] = half[study] @ weights[:-1], truth[study] - weights[-1]
    typical = np.mean([np.linalg.norm(one) for one in said])
    told = [s @ t / ((np.linalg.norm(s) + typical) * np.linalg.norm(t)) for s, t in zip(said, true, strict=True)]
    return float(np.mean(np.array(told)[~inside]) - np.mean(np.array(told)[inside]))


def test_each_exchange_is_treated_as_what_was_seen_would_be() -> None:
    """What makes the p-values exact: every exchange has the loss that it would have if it were what was seen."""
    rng = np.random.default_rng(1)
    half, truth, fold = rng.normal(size=(50, 5)), rng.normal(size=(50, 3)), np.arange(50) % 5
    member_XN = np.stack([rng.permutation(50) < 20 for _ in range(45)]).astype(float)
    expected = [reference_loss(half, truth, fold, member_N == 1) for member_N in member_XN]
    assert losses(half, truth, fold, member_XN) == pytest.approx(expected, abs=1e-9)


def false_alarms(*, fitted_anew: bool) -> int:
    """Of 200 draws where a group has nothing to do with anything; the broken variant fits for what was seen alone."""
    alarms, num, num_inside = 0, 60, 45
    for seed in range(3000, 3200):
        rng = np.random.default_rng(seed)
        half, truth = rng.normal(size=(num, 30)), rng.normal(size=(num, 3))
        patients = [f"p{i}" for i in range(num)]
        member, fold = (rng.permutation(num) < num_inside).astype(float), folds_of(patients)
        orders = PatientExchange(patients, ["here"] * num, rng).orders(39)
        member_XN = member[np.vstack([np.arange(num), orders])]
        if fitted_anew:
            loss_X = losses(half, truth, fold, member_XN)
        else:
            quality_N = quality(half, truth, fold, member[None])[0]
            loss_X = (1 - member_XN) @ quality_N / (num - num_inside) - member_XN @ quality_N / num_inside
        alarms += p_values(loss_X[:1], loss_X[1:, None])[0] <= 0.05
    return alarms


def test_false_alarms_are_as_rare_as_they_say_where_lines_are_fitted_anew_and_not_where_they_are_not() -> None:
    """With n = 200 draws at level .05, alpha 1e-3."""
    assert stats.binomtest(false_alarms(fitted_anew=True), 200, 0.05).pvalue > 1e-3
    assert stats.binomtest(false_alarms(fitted_anew=False), 200, 0.05, "greater").pvalue < 1e-3
