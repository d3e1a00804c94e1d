"""Patients, sites and their shift: what is independent of what, and by how much sites differ.

Statistical tests draw one study a patient, so that observations are independent; n and alpha stand beside each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from simulations.cohorts.findings import CHRONIC, FINDING_NAMES, KINDS
from simulations.cohorts.patients import PhantomStudy, draw_patient
from simulations.cohorts.plan import CohortPlan
from simulations.cohorts.sites import RACES, site_profiles
from simulations.cohorts.write import draw_cohort

ALPHA = 1e-3
PATIENTS = 300  # a site, five sites


@lru_cache
def cohort(
    *, num_sites: int = 5, shift: float = 0.7, confounder: bool = False, public: int = 0, patients: int = PATIENTS
) -> list[PhantomStudy]:
    plan = CohortPlan(
        num_sites=num_sites,
        patients_per_site=patients,
        public_patients=public,
        image_size=64,
        site_shift=shift,
        confounder=confounder,
        seed=5,
    )
    return list(draw_cohort(plan))


def first_studies(studies: Sequence[PhantomStudy]) -> list[PhantomStudy]:
    return [study for study in studies if study.study_id.endswith("-s1")]


def of_site(studies: Sequence[PhantomStudy], site: str) -> list[PhantomStudy]:
    return [study for study in studies if study.patient.site == site]


def test_patient_is_the_same_whatever_the_number_of_sites_and_patients() -> None:
    small = cohort(num_sites=2, patients=20)
    large = {study.study_id: study for study in cohort(num_sites=7, patients=40, public=10)}
    assert all(study == large[study.study_id] for study in small)


def test_patient_does_not_depend_on_the_patients_drawn_before() -> None:
    studies = cohort(num_sites=2, patients=20)
    profile = site_profiles(
        CohortPlan(
            num_sites=2,
            patients_per_site=20,
            public_patients=0,
            image_size=64,
            site_shift=0.7,
            confounder=False,
            seed=5,
        )
    )[1]
    alone = draw_patient(profile, 17, seed=5)
    assert alone == [study for study in studies if study.patient.patient_id == "riverside-p00017"]


def test_study_identifiers_are_unique_and_a_patient_has_one_to_four_studies() -> None:
    studies = cohort()
    ids = [study.view_id(position) for study in studies for position in range(len(study.views))]
    assert len(ids) == len(set(ids))
    counts = np.unique([study.patient.patient_id for study in studies], return_counts=True)[1]
    assert set(counts) == {1, 2, 3, 4}
    assert 1.4 < counts.mean() < 1.7


def test_demographics_are_within_their_ranges() -> None:
    patients = [study.patient for study in first_studies(cohort())]
    assert all(18 <= patient.age <= 90 for patient in patients)
    assert {patient.sex for patient in patients} == {"F", "M"}
    assert {patient.race for patient in patients} == set(RACES)


def test_study_shows_two_to_three_findings_on_average() -> None:
    assert 2.0 < np.mean([len(study.findings) for study in cohort()]) < 3.5
    normal = np.mean([not study.findings for study in cohort()])
    assert 0.02 < normal < 0.25


def test_chronic_findings_stay_where_they_are_and_acute_ones_come_and_go() -> None:
    chronic = {kind.name for kind in KINDS if kind.course == CHRONIC}
    changed_severity = changed_acute = 0
    studies = cohort()
    for before, after in pairwise(studies):
        if before.patient.patient_id != after.patient.patient_id:
            continue
        old = {finding.name: finding for finding in before.findings}
        new = {finding.name: finding for finding in after.findings}
        assert set(old) & chronic == set(new) & chronic
        for name in set(old) & chronic:
            place = (old[name].side, old[name].zone, old[name].place, old[name].texture_seed)
            assert place == (new[name].side, new[name].zone, new[name].place, new[name].texture_seed)
            assert abs(old[name].grade - new[name].grade) <= 1
            changed_severity += old[name].severity != new[name].severity
        changed_acute += set(old) - chronic != set(new) - chronic
    assert changed_severity > 50
    assert changed_acute > 100


def test_later_studies_are_as_sick_as_first_ones() -> None:
    """Findings a study, first against last of the patients with several; n about 550 pairs, alpha 1e-3."""
    last = {study.patient.patient_id: study for study in cohort(shift=0.0)}
    first = {study.patient.patient_id: study for study in first_studies(cohort(shift=0.0))}
    pairs = [(first[name], study) for name, study in last.items() if study is not first[name]]
    difference = [len(after.findings) - len(before.findings) for before, after in pairs]
    assert len(pairs) > 400
    assert stats.ttest_1samp(difference, 0.0).pvalue > ALPHA


def p_value_of_age(studies: Sequence[PhantomStudy], name: str) -> tuple[float, float]:
    ages = [study.patient.age for study in studies]
    result = stats.pointbiserialr([name in study.finding_names for study in studies], ages)
    return float(result.statistic), float(result.pvalue)


def test_prevalence_depends_on_age() -> None:
    """With n = 1,500 patients and alpha 1e-3; consolidation, whose slope is nearly flat, is the negative control."""
    studies = first_studies(cohort(shift=0.0))
    for name in ("cardiomegaly", "hiatal hernia"):
        correlation, p_value = p_value_of_age(studies, name)
        assert correlation > 0
        assert p_value < ALPHA
    assert p_value_of_age(studies, "pneumothorax")[0] < 0
    assert abs(p_value_of_age(studies, "consolidation")[0]) < 0.085  # 3.3 standard errors


def homogeneity(studies: Sequence[PhantomStudy], values: Sequence[object]) -> float:
    """The p-value of a chi-squared test that a value is distributed alike at all sites."""
    sites = [study.patient.site for study in studies]
    table = stats.contingency.crosstab(sites, [str(value) for value in values]).count
    return float(stats.chi2_contingency(table).pvalue)


def site_p_values(shift: float) -> tuple[float, float, float, list[float]]:
    """For scanner, closing words of the report, age, and each finding; n = 1,500 patients at five sites."""
    studies = first_studies(cohort(shift=shift))
    scanner = homogeneity(studies, [study.views[0].exposure.scanner for study in studies])
    words = homogeneity(studies, [study.report.split()[-1] == "REPORT." for study in studies])
    age = homogeneity(studies, [study.patient.age >= 60 for study in studies])
    findings = [homogeneity(studies, [name in study.finding_names for study in studies]) for name in FINDING_NAMES]
    return scanner, words, age, findings


def test_sites_are_alike_without_shift() -> None:
    """The negative control: 13 tests at alpha 1e-3 each raise a false alarm in 1.3 % of the seeds."""
    scanner, words, age, findings = site_p_values(0.0)
    assert min(scanner, words, age, *findings) > ALPHA


def test_sites_differ_in_everything_at_full_shift() -> None:
    """The positive control, the same tests."""
    scanner, words, age, findings = site_p_values(1.0)
    assert max(scanner, words, age) < ALPHA
    assert sum(p_value < ALPHA for p_value in findings) >= 7


def test_public_studies_come_from_scanners_that_no_hospital_has() -> None:
    studies = cohort(num_sites=2, patients=100, public=100)
    scanners = {
        is_public: {
            view.exposure.scanner
            for study in studies
            for view in study.views
            if (study.patient.site == "public") == is_public
        }
        for is_public in (True, False)
    }
    assert len(scanners[True]) == 2
    assert len(scanners[False]) == 4
    assert not scanners[True] & scanners[False]


def marker_correlation(studies: Sequence[PhantomStudy]) -> float:
    """Phi coefficient of the marker and pleural effusion."""
    marker = [study.views[0].exposure.portable for study in studies]
    finding = ["pleural effusion" in study.finding_names for study in studies]
    return float(np.corrcoef(marker, finding)[0, 1])


@pytest.mark.parametrize(
    ("site", "confounder", "confounded"),
    [
        ("northgate", True, True),
        ("northgate", False, False),
        ("riverside", True, False),
        ("riverside", False, False),
    ],
)
def test_marker_follows_the_finding_only_where_it_is_confounded(
    *, site: str, confounder: bool, confounded: bool
) -> None:
    """With n = 300 patients a site; under independence |phi| < 3.3 / sqrt(n) but for alpha 1e-3."""
    studies = of_site(first_studies(cohort(shift=0.0, confounder=confounder)), site)
    phi = marker_correlation(studies)
    assert phi > 0.75 if confounded else abs(phi) < 3.3 / np.sqrt(len(studies))


def test_confounder_moves_nothing_but_the_marker() -> None:
    def without_marker(study: PhantomStudy) -> tuple[object, ...]:
        exposures = [(view.pose, view.exposure.gain, view.exposure.noise) for view in study.views]
        return (study.study_id, study.patient, study.findings, study.report, exposures)

    off, on = cohort(), cohort(confounder=True)
    assert [without_marker(study) for study in off] == [without_marker(study) for study in on]
    assert off != on
