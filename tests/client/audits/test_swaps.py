"""Words are exchanged as written, and the audit finds them where, and only where, images are found by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from client.audits.features import fit_features
from client.audits.interface import Audited, Verdict
from client.audits.studies import AuditedStudies
from client.audits.swaps import SWAPS, audit_swaps, neutral_edit, sign_flip
from tests.client.audits.cohorts import studies


@pytest.mark.parametrize(
    ("kind", "text", "exchanged"),
    [
        ("sex", "A woman; she hurt her knee.", "A man; he hurt his knee."),
        ("sex", "Man with HIS brother, male.", "woman with her brother, female."),
        ("age", "A 34-year-old, seen for 3 days.", "A 64-year-old, seen for 3 days."),
        ("age", "72 yo, 5 mm nodule", "42 yo, 5 mm nodule"),
        ("race", "Black man with white matter disease", "white man with white matter disease"),
        ("race", "Caucasian patient, black blood sequence", "black patient, black blood sequence"),
    ],
)
def test_words_are_exchanged_and_medical_words_stay(kind: str, text: str, exchanged: str) -> None:
    assert SWAPS[kind].of(text)[0] == exchanged


def test_neutral_edit_changes_as_many_words_and_none_of_who_the_patient_is() -> None:
    text = "A woman with the nodule in the left lung and a 54-year-old mass."
    edited = neutral_edit(text, 3, np.random.default_rng(0))
    changed = [pair for pair in zip(text.split(), edited.split(), strict=True) if pair[0] != pair[1]]
    assert len(changed) == 3
    assert {"woman", "nodule", "54-year-old"} <= set(edited.split())
    assert neutral_edit("Nodule.", 3, np.random.default_rng(0)) == "Nodule."


def worded(seed: int, *, true_sex: bool) -> AuditedStudies:
    """The cohort, whose pictures tell sex, with a word for it in each report: the patient's, or anybody's."""
    drawn, rng = studies(seed, images=True, patients=200), np.random.default_rng(seed)
    sexes = {record.patient_id: record.sex if true_sex else str(rng.choice(["F", "M"])) for record in drawn.records}
    nouns = {"F": "woman", "M": "man", None: "patient"}
    records = tuple(
        replace(record, report=f"A {nouns[sexes[record.patient_id]]}. {record.report}") for record in drawn.records
    )
    return replace(drawn, records=records)


def audited(drawn: AuditedStudies) -> Audited:
    features = fit_features(drawn)
    images, reports = features.images(list(drawn.pictures)), features.reports([r.report for r in drawn.records])
    return audit_swaps(drawn, features, images, reports)


def test_words_by_which_images_are_found_are_found_and_their_clean_twin_is_silent() -> None:
    planted, clean = audited(worded(1, true_sex=True)), audited(worded(1, true_sex=False))
    assert [finding.subject for finding in planted.found] == ["words for sex"]
    assert not clean.found
    assert {finding.subject for finding in clean.findings if finding.verdict is Verdict.CANNOT_TELL} == {
        "words for age",
        "words for race",
    }


def test_sign_flip_agrees_with_the_t_test_by_patient_and_not_by_study() -> None:
    """Four studies of each of 50 patients; the broken variant takes them for 200 patients."""
    rng = np.random.default_rng(5)
    by_patient = rng.normal(size=50)
    cost = (by_patient - by_patient.mean() + 0.2)[np.arange(200) // 4]
    owners = [f"p{i // 4}" for i in range(200)]
    mean, _, _, p_value = sign_flip(cost, owners, "test")
    t_test = stats.ttest_1samp(cost[::4], 0.0, alternative="greater")
    assert mean == pytest.approx(cost.mean())
    assert p_value == pytest.approx(t_test.pvalue, abs=0.03)
    assert sign_flip(cost, [str(i) for i in range(200)], "test")[3] < 0.2 * p_value
