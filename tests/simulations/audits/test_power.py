"""Planted bias is found and its clean twin is silent, over 20 seeds; each rate with its Clopper-Pearson interval.

One hospital of 250 patients, or 400 where it is said, `site_shift` .5, images of 64 pixels. The figures are printed:
`pytest -n 0 -s -m slow`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from scipy import stats

from client.audits.attributes import audit_attributes
from client.audits.features import fit_features
from client.audits.interface import Audited
from client.audits.language import audit_language
from client.audits.mediation import audit_mediation
from client.audits.regions import LATE, audit_regions
from client.audits.studies import AuditedStudies
from client.audits.swaps import audit_swaps
from client.audits.terms import read_terms
from simulations.audits.image_edits import audit_image_edits
from simulations.cohorts.write import draw_cohort
from tests.client.audits.cohorts import PLAN, misfiled, studies
from tests.client.audits.test_language import with_races_exchanged
from tests.client.audits.test_swaps import audited as audited_swaps
from tests.client.audits.test_swaps import worded

SEEDS = range(100, 120)
PATIENTS, MORE_PATIENTS = 250, 400
KINDS = ("scanner", "marker", "phrases")
WANTED = {
    "language": {"race Black: doubt", "race Black: blame", "race Black: stigma"},
    "attributes": {"race, by image", "race, by report", "race, with scanner", "race, with marker"},
    "image edits": {"the marker is added", "Merrow Bedside 2 takes the image"},
    "swaps": {"words for sex"},
}
"""What each audit is to find; each is a power of its own."""


def audits(seed: int, *planted: str) -> list[Audited]:
    drawn = studies(seed, *planted, images=True, patients=PATIENTS)
    features = fit_features(drawn)
    images, reports = features.images(list(drawn.pictures)), features.reports([r.report for r in drawn.records])
    plan = replace(PLAN, seed=seed, planted=planted, patients_per_site=PATIENTS)
    phantoms = {phantom.study_id: phantom for phantom in draw_cohort(plan)}
    edits = audit_image_edits(drawn, [phantoms[record.study_id] for record in drawn.records], features, plan)
    return [
        audit_language(drawn, read_terms()),
        audit_attributes(drawn, {"image": images, "report": reports}),
        audit_swaps(drawn, features, images, reports),
        edits,
    ]


def told(what: str, count: int) -> None:
    interval = stats.binomtest(count, len(SEEDS)).proportion_ci(method="exact")
    sys.stderr.write(f"\n{what}: {count} of {len(SEEDS)}, 95 % {interval.low:.2f} to {interval.high:.2f}")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_planted_bias_is_found_and_clean_twins_are_silent() -> None:
    """Power at least .9 and false alarms at most .1 of 20 seeds, for each audit and each thing that it is to find."""
    power, alarms = Counter[str](), Counter[str]()
    for seed in SEEDS:
        planted = [*audits(seed, *KINDS), audited_swaps(worded(seed, true_sex=True))]
        exchanged = audit_language(
            with_races_exchanged(studies(seed, "phrases", patients=PATIENTS), seed), read_terms()
        )
        clean = [*audits(seed), audited_swaps(worded(seed, true_sex=False)), exchanged]
        subjects = {(audit.name, finding.subject) for audit in planted for finding in audit.found}
        for name, wanted in WANTED.items():
            power.update(f"{name}, {subject}" for subject in wanted if (name, subject) in subjects)
        alarms.update({audit.name for audit in clean if audit.found})
    for name, wanted in WANTED.items():
        for subject in sorted(wanted):
            told(f"power, {name}, {subject}", power[f"{name}, {subject}"])
        told(f"false alarms, {name}", alarms[name])
    least, most = 0.9 * len(SEEDS), 0.1 * len(SEEDS)
    assert all(power[f"{name}, {subject}"] >= least for name, wanted in WANTED.items() for subject in wanted)
    assert all(alarms[name] <= most for name in WANTED)


def found(audit: Callable[..., Audited], drawn: AuditedStudies) -> set[str]:
    features = fit_features(drawn)
    images, reports = features.images(list(drawn.pictures)), features.reports([r.report for r in drawn.records])
    return {finding.subject for finding in audit(drawn, images, reports).found}


def hold(name: str, power: Counter[str], alarms: int) -> None:
    for subject, count in sorted(power.items()):
        told(f"power, {name}, {subject}", count)
    told(f"false alarms, {name}", alarms)
    assert min(power.values()) >= 0.9 * len(SEEDS)
    assert alarms <= 0.1 * len(SEEDS)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_gap_is_found_in_both_halves_and_in_no_clean_twin() -> None:
    """400 patients; power at least .9, and no false alarm of any group or half in more than .1 of 20 seeds."""
    power, alarms = Counter({"race Black, through images": 0, "race Black, through reports": 0}), 0
    for seed in SEEDS:
        planted = studies(seed, "scanner", "phrases", images=True, patients=MORE_PATIENTS)
        power.update(found(audit_mediation, planted) & set(power))
        alarms += bool(found(audit_mediation, studies(seed, images=True, patients=MORE_PATIENTS)))
    hold("mediation", power, alarms)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_marker_is_found_as_a_region_of_race_and_of_studies_that_are_misfiled() -> None:
    """A marker alone, 250 patients; and where studies with it have each other's reports, 400 patients."""
    power, alarms = Counter({"race, by region": 0, LATE: 0}), 0
    for seed in SEEDS:
        marked = studies(seed, "marker", images=True, patients=PATIENTS)
        power.update(found(audit_regions, marked) & {"race, by region"})
        power.update(found(audit_regions, misfiled(seed, patients=MORE_PATIENTS)) & {LATE})
        alarms += bool(found(audit_regions, studies(seed, images=True, patients=PATIENTS)))
    hold("regions", power, alarms)
