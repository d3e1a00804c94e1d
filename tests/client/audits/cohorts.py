"""Studies of the synthetic cohort as the audits get them, drawn without a file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from client.audits.studies import AuditedStudies, gather
from common.types import Study, StudyRecord
from simulations.cohorts.patients import PhantomStudy
from simulations.cohorts.plan import CohortPlan
from simulations.cohorts.render import render_views
from simulations.cohorts.write import draw_cohort

PLAN = CohortPlan(
    num_sites=1,
    patients_per_site=300,
    public_patients=0,
    image_size=64,
    site_shift=0.5,
    confounder=False,
    seed=0,
)


def studies(seed: int, *planted: str, images: bool = False, patients: int = 300) -> AuditedStudies:
    """The studies of one hospital with planted bias; without images they are black."""
    plan = replace(PLAN, seed=seed, planted=planted, patients_per_site=patients)
    return gather(_study(phantom, seed, images=images) for phantom in draw_cohort(plan))


def misfiled(seed: int, *, patients: int) -> AuditedStudies:
    """Studies with a planted marker, where those that bear it have each other's reports."""
    plan = replace(PLAN, seed=seed, planted=("marker",), patients_per_site=patients)
    bearing = {phantom.study_id for phantom in draw_cohort(plan) if phantom.views[0].exposure.portable}
    drawn = studies(seed, "marker", images=True, patients=patients)
    rows = [i for i, record in enumerate(drawn.records) if record.study_id in bearing]
    records = list(drawn.records)
    for row, other in zip(rows, np.random.default_rng(seed).permutation(rows), strict=True):
        records[row] = replace(drawn.records[row], report=drawn.records[other].report)
    return replace(drawn, records=tuple(records))


def _study(phantom: PhantomStudy, seed: int, *, images: bool) -> Study:
    patient = phantom.patient
    record = StudyRecord(
        study_id=phantom.study_id,
        patient_id=patient.patient_id,
        report=phantom.report,
        sex=patient.sex,
        age=patient.age,
        race=patient.race,
        scanner=phantom.views[0].exposure.scanner,
        site=patient.site,
        findings=phantom.finding_names,
    )
    black = np.zeros((8, 8), dtype=np.uint8)
    return Study(record, render_views(phantom, size=64, seed=seed)[0] if images else black)
