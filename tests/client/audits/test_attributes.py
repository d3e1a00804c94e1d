"""What can be told from image and report, against scikit-learn; planted bias is found, the clean twin is silent."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import matthews_corrcoef, roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from client.audits.association import correlations, cramers_v
from client.audits.attributes import audit_attributes
from client.audits.features import Components, fit_features
from client.audits.interface import Audited, Verdict
from client.audits.linear import area_under_curve, cross_fitted, folds_of
from client.audits.studies import AuditedStudies
from tests.client.audits.cohorts import studies


def sources(audited: AuditedStudies) -> dict[str, Components]:
    features = fit_features(audited)
    reports = [record.report for record in audited.records]
    return {"image": features.images(list(audited.pictures)), "report": features.reports(reports)}


@lru_cache
def audited(*planted: str) -> Audited:
    drawn = studies(2, *planted, images=True, patients=200)
    return audit_attributes(drawn, sources(drawn))


def found(*planted: str) -> set[str]:
    return {finding.subject for finding in audited(*planted).found}


def test_planted_bias_is_found_where_it_was_planted() -> None:
    subjects = found("scanner", "marker", "phrases")
    assert subjects >= {"race, by image", "race, by report", "race, with scanner", "race, with marker"}


def test_clean_twin_is_silent_and_sex_is_expected() -> None:
    assert found() == set()
    verdicts = {finding.subject: finding.verdict for finding in audited().findings}
    assert verdicts["sex, by image"] is Verdict.EXPECTED
    assert verdicts["scanner, by image"] is Verdict.EXPECTED


def test_shortcut_is_found_where_the_marker_follows_a_finding() -> None:
    """A marker that is seen and goes with a finding; in the clean twin it is seen and goes with none."""
    drawn = studies(2, images=True, patients=200)
    with_marker = np.array([picture[52:62, 2:10].max() > 240 for picture in drawn.pictures])
    records = tuple(
        replace(record, findings=("nodule",) if bright else ())
        for record, bright in zip(drawn.records, with_marker, strict=True)
    )
    shortcut = replace(drawn, records=records)
    subjects = {finding.subject for finding in audit_attributes(shortcut, sources(shortcut)).found}
    assert "marker, with findings" in subjects


def test_attribute_of_few_patients_cannot_be_told() -> None:
    drawn = studies(2, images=True, patients=40)
    rare = replace(drawn, records=tuple(replace(record, race=None) for record in drawn.records))
    verdicts = {finding.subject: finding.verdict for finding in audit_attributes(rare, sources(rare)).findings}
    assert verdicts["race"] is Verdict.CANNOT_TELL


def test_line_sees_what_logistic_regression_sees() -> None:
    """Areas under the curve of held-out patients agree within .03, for a plain and for a hopeless attribute."""
    drawn = studies(3, "scanner", images=True, patients=200)
    components = sources(drawn)["image"]
    folds = folds_of([record.patient_id for record in drawn.records])
    for target in (
        np.array([record.sex == "M" for record in drawn.records]),
        np.array([record.race == "Black" for record in drawn.records]),
        np.array([record.race == "Other" for record in drawn.records]),
    ):
        label = target.astype(np.float64)[:, None]
        area = area_under_curve(cross_fitted(components, label, folds)[:, 0], label[:, 0])
        said = cross_val_predict(
            LogisticRegression(C=0.1, max_iter=500),
            components,
            target,
            cv=PredefinedSplit(folds),
            method="decision_function",
        )
        assert area == pytest.approx(roc_auc_score(target, said), abs=0.03)


def test_cross_fitting_never_sees_the_patient() -> None:
    """The broken variant, folds by study, tells a patient's studies from each other's labels; alpha far below 1e-3."""
    rng = np.random.default_rng(0)
    patients = [f"p{i // 4}" for i in range(400)]
    own = rng.normal(size=(100, 60))[np.arange(400) // 4] + 0.1 * rng.normal(size=(400, 60))
    label = (rng.random(100) < 0.5)[np.arange(400) // 4].astype(np.float64)[:, None]
    assert abs(area_under_curve(cross_fitted(own, label, folds_of(patients))[:, 0], label[:, 0]) - 0.5) < 0.2
    assert area_under_curve(cross_fitted(own, label, np.arange(400) % 5)[:, 0], label[:, 0]) > 0.9


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=30))
def test_area_under_curve_agrees_with_scikit_learn(pairs: list[tuple[int, bool]]) -> None:
    score, member = (np.array(column, dtype=np.float64) for column in zip(*pairs, strict=True))
    if 0 < member.sum() < len(member):
        area = area_under_curve(score, member)
        assert area == pytest.approx(roc_auc_score(member, score))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=4, max_size=40))
def test_phi_agrees_with_scikit_learn(pairs: list[tuple[bool, bool]]) -> None:
    one, other = (np.array(column, dtype=np.float64)[:, None] for column in zip(*pairs, strict=True))
    coefficient = correlations(one, other, np.arange(len(one))[None])[0, 0, 0]
    varies = 0 < one.sum() < len(one) and 0 < other.sum() < len(other)
    assert coefficient == pytest.approx(matthews_corrcoef(one.ravel(), other.ravel()) if varies else 0.0)


def test_corrected_v_is_about_zero_by_chance_and_one_for_the_same_trait() -> None:
    """Plain V of independent traits is never zero on average; the corrected one is mostly (n = 200 draws of 60)."""
    rng = np.random.default_rng(1)
    plain = [stats.pearsonr(rng.integers(2, size=60), rng.integers(2, size=60)).statistic for _ in range(200)]
    assert np.mean(np.square(plain)) > 0.012
    assert np.mean([cramers_v(one, 60) == 0.0 for one in plain]) > 0.6
    assert cramers_v(1.0, 60) == pytest.approx(1.0)
