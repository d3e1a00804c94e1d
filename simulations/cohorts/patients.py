"""Patients and their studies: who they are, what is found in them, how it changes from study to study."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from common.seeds import numpy_generator
from simulations.cohorts.bias import draw_bias
from simulations.cohorts.findings import (
    CHRONIC,
    FINDING_NAMES,
    KINDS,
    NOT_APPLICABLE,
    SEVERITIES,
    SIDES,
    ZONES,
    Finding,
    FindingKind,
)
from simulations.cohorts.grammar import write_report
from simulations.cohorts.scanners import Exposure, draw_exposure
from simulations.cohorts.sites import CONFOUNDED_FINDING, RACES, SiteProfile
from simulations.cohorts.thorax import Anatomy, Pose, draw_anatomy, draw_pose

NUM_STUDIES_PROBABILITIES = (0.62, 0.25, 0.09, 0.04)
"""Of one, two, three and four studies a patient."""

SECOND_VIEW_RATE = 0.08
AGE_SPREAD_YEARS = 17.0
KEEPS_ACUTE_RATE = 0.4
"""Probability that an acute finding, or its absence, is carried over to the next study as it is."""


@dataclass(frozen=True)
class Patient:
    """The unit of privacy."""

    patient_id: str
    site: str
    sex: str
    age: int
    race: str
    anatomy: Anatomy


@dataclass(frozen=True)
class View:
    """One image of a study: how the patient stood and what the scanner did."""

    pose: Pose
    exposure: Exposure


@dataclass(frozen=True)
class PhantomStudy:
    """One study and all that is true of it; two views share the report."""

    study_id: str
    patient: Patient
    findings: tuple[Finding, ...]
    report: str
    views: tuple[View, ...]

    def view_id(self, position: int) -> str:
        """The manifest's study_id of one view; the first view bears the name of the study."""
        return self.study_id if position == 0 else f"{self.study_id}-view{position + 1}"

    @property
    def finding_names(self) -> tuple[str, ...]:
        """Names of the findings, devices left out."""
        return tuple(finding.name for finding in self.findings if finding.name in FINDING_NAMES)


def draw_patient(profile: SiteProfile, number: int, *, seed: int) -> list[PhantomStudy]:
    """The studies of a site's patient, from the seed, the site's profile and the patient's number alone."""
    rng = numpy_generator(seed, "patient", profile.name, number)
    sex = "M" if rng.random() < profile.male_share else "F"
    age = int(np.clip(np.rint(rng.normal(profile.age_years, AGE_SPREAD_YEARS)), 18, 90))
    race = str(rng.choice(RACES, p=profile.race_mix))
    patient = Patient(
        patient_id=f"{profile.name}-p{number:05d}",
        site=profile.name,
        sex=sex,
        age=age,
        race=race,
        anatomy=draw_anatomy(rng, sex=sex, age=age),
    )
    num_studies = 1 + int(rng.choice(len(NUM_STUDIES_PROBABILITIES), p=NUM_STUDIES_PROBABILITIES))
    studies: list[PhantomStudy] = []
    found = _first_findings(patient, profile, rng)
    for position in range(num_studies):
        if position:
            found = _next_findings(found, patient, profile, rng)
        studies.append(_draw_study(patient, profile, found, position=position, seed=seed))
    return studies


def _draw_study(
    patient: Patient, profile: SiteProfile, found: dict[str, Finding], *, position: int, seed: int
) -> PhantomStudy:
    study_id = f"{patient.patient_id}-s{position + 1}"
    findings = tuple(found.values())
    rng = numpy_generator(seed, "study", study_id)
    bias = draw_bias(profile.planted, patient.race, study_id=study_id, seed=seed)
    own_scanner = profile.scanners[int(rng.choice(len(profile.scanners), p=profile.scanner_mix))]
    scanner = bias.scanner or own_scanner
    marker_rate = profile.marker_with_finding if CONFOUNDED_FINDING in found else profile.marker_without
    if bias.marker_rate is not None:
        marker_rate = bias.marker_rate
    # Both drawn whatever the switches say, so that neither the confounder nor planted bias moves anything else.
    portable = bool(rng.random() < marker_rate)
    num_views = 2 if rng.random() < SECOND_VIEW_RATE else 1
    views = tuple(
        View(pose=draw_pose(rng), exposure=draw_exposure(scanner, rng, portable=portable)) for _ in range(num_views)
    )
    report = write_report(bias.told(findings), profile.style, numpy_generator(seed, "report", study_id))
    return PhantomStudy(
        study_id=study_id, patient=patient, findings=findings, report=bias.reported(report), views=views
    )


def _first_findings(patient: Patient, profile: SiteProfile, rng: np.random.Generator) -> dict[str, Finding]:
    drawn = {kind.name: _draw_finding(kind, patient, profile, rng) for kind in KINDS}
    return {name: finding for name, finding in drawn.items() if finding}


def _next_findings(
    before: dict[str, Finding], patient: Patient, profile: SiteProfile, rng: np.random.Generator
) -> dict[str, Finding]:
    """Findings of the next study: a stationary walk, so that a later study is no sicker than the first."""
    after: dict[str, Finding] = {}
    for kind in KINDS:
        keeps = kind.course == CHRONIC or rng.random() < KEEPS_ACUTE_RATE
        finding = before.get(kind.name) if keeps else _draw_finding(kind, patient, profile, rng)
        if finding:
            after[kind.name] = _with_severity_step(finding, rng) if keeps and kind.graded else finding
    return after


def _draw_finding(
    kind: FindingKind, patient: Patient, profile: SiteProfile, rng: np.random.Generator
) -> Finding | None:
    decades = (patient.age - 60) / 10
    log_odds = math.log(kind.prevalence / (1.0 - kind.prevalence)) + kind.age_slope * decades
    log_odds += (kind.male if patient.sex == "M" else 0.0) + profile.log_odds[kind.name]
    if rng.random() >= 1.0 / (1.0 + math.exp(-log_odds)):
        return None
    return Finding(
        name=kind.name,
        side=_draw_name(SIDES, kind.sides, rng),
        zone=_draw_name(ZONES, kind.zones, rng),
        severity=SEVERITIES[rng.integers(len(SEVERITIES))] if kind.graded else NOT_APPLICABLE,
        place=(float(rng.random()), float(rng.random())),
        texture_seed=int(rng.integers(2**62)),
    )


def _draw_name(names: tuple[str, ...], probabilities: tuple[float, ...], rng: np.random.Generator) -> str:
    return str(rng.choice(names, p=probabilities)) if probabilities else NOT_APPLICABLE


def _with_severity_step(finding: Finding, rng: np.random.Generator) -> Finding:
    """One step better, as it was, or one step worse."""
    step = int(rng.choice((-1, 0, 1), p=(0.25, 0.5, 0.25)))
    grade = min(max(finding.grade + step, 0), len(SEVERITIES) - 1)
    return replace(finding, severity=SEVERITIES[grade])
