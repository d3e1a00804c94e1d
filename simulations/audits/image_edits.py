"""What do a model's answers owe to the marker or to the unit? The same chests, drawn again with that alone changed.

A line is fitted from the images to findings and race. Each study is drawn with and without the portable marker, and
as every unit of the cohort would have taken it; what the line says then moves by the edit alone, because patient,
findings, pose and noise stay. How far an answer would move by chance is seen by exchanging findings and races between
patients and fitting the line anew.

Shapes: N studies, D components, T answers, M exchanges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from client.audits.attributes import finding_labels
from client.audits.features import Components, Features
from client.audits.interface import ALPHA, Audited, Finding, Verdict
from client.audits.linear import fit
from client.audits.permutation import PatientExchange, holm, p_values
from client.audits.studies import AuditedStudies, small_picture
from client.audits.traits import traits_of
from common.seeds import numpy_generator
from simulations.cohorts.patients import PhantomStudy, View
from simulations.cohorts.plan import CohortPlan
from simulations.cohorts.render import render_views
from simulations.cohorts.scanners import SCANNERS, Exposure

QUESTION = "What do a model's answers owe to the marker or to the unit, where nothing else of the image changes?"


def audit_image_edits(
    studies: AuditedStudies, phantoms: Sequence[PhantomStudy], features: Features, plan: CohortPlan
) -> Audited:
    """Each edit of the images: how far what is told of findings and race moves.

    Args:
        studies: The studies, in the order of `phantoms`.
        phantoms: The truth of each, of whose views the first is drawn.
        features: Features fitted to the studies.
        plan: The cohort's.
    """
    images_ND = features.images(list(studies.pictures))
    names, answer_NT = _answers(studies)
    patients = [record.patient_id for record in studies.records]
    sites = [record.site or "" for record in studies.records]
    order_MN = PatientExchange(patients, sites, numpy_generator(0, "audit", "image edits")).orders()
    moved = dict(_moves(phantoms, features, plan, side=studies.pictures.shape[1]))
    # The line is linear in its answers, so all exchanges are fitted in one solve.
    both_NX = np.hstack([answer_NT, *(answer_NT[order_N] for order_N in order_MN)])
    weights_DX = fit(images_ND, both_NX)[:-1]
    findings = _findings(names, {edit: _shift(moved_D, weights_DX, len(names)) for edit, moved_D in moved.items()})
    return Audited(name="image edits", question=QUESTION, findings=tuple(findings), figure={})


def _answers(studies: AuditedStudies) -> tuple[list[str], Components]:
    """Findings and races that patients enough have, as zeros and ones."""
    names, finding_NK = finding_labels(studies)
    races = next((trait for trait in traits_of(studies)[0] if trait.name == "race"), None)
    if races is None:
        return list(names), finding_NK
    race_NC = np.zeros((len(finding_NK), len(races.classes)))
    race_NC[races.grouped.rows] = races.member
    return [*names, *(f"race {name}" for name in races.classes)], np.hstack([finding_NK, race_NC])


def _moves(
    phantoms: Sequence[PhantomStudy], features: Features, plan: CohortPlan, *, side: int
) -> Iterator[tuple[str, Components]]:
    """Mean move of the components, `[D]`, by each edit."""

    def drawn(edited: Sequence[PhantomStudy]) -> Components:
        views = (render_views(phantom, size=plan.image_size, seed=plan.seed)[0] for phantom in edited)
        return np.asarray(features.images([small_picture(view, side) for view in views]).mean(axis=0))

    without = [_with_exposure(phantom, portable=False) for phantom in phantoms]
    yield "the marker is added", drawn([_with_exposure(p, portable=True) for p in phantoms]) - drawn(without)
    as_taken_D = drawn(phantoms)
    for name in sorted({view.exposure.scanner for phantom in phantoms for view in phantom.views[:1]}):
        yield f"{name} takes the image", drawn([_with_scanner(phantom, name) for phantom in phantoms]) - as_taken_D


def _with_exposure(phantom: PhantomStudy, *, portable: bool) -> PhantomStudy:
    first = phantom.views[0]
    return replace(phantom, views=(View(first.pose, replace(first.exposure, portable=portable)),))


def _with_scanner(phantom: PhantomStudy, name: str) -> PhantomStudy:
    """The first view as another unit takes it, with the same deviation from the unit's settings."""
    first = phantom.views[0]
    old, new, exposure = SCANNERS[first.exposure.scanner], SCANNERS[name], first.exposure
    taken = Exposure(
        scanner=name,
        gain=exposure.gain * new.gain / old.gain,
        gamma=exposure.gamma * new.gamma / old.gamma,
        blur=exposure.blur * new.blur / old.blur,
        noise=exposure.noise * new.noise / old.noise,
        border=new.border,
        portable=exposure.portable,
    )
    return replace(phantom, views=(View(first.pose, taken),))


def _shift(moved_D: Components, weights_DX: Components, num: int) -> Components:
    """How far each answer moves, `[1 + M, T]`, as seen and in each exchange."""
    return np.asarray(np.abs(moved_D @ weights_DX).reshape(-1, num))


def _findings(names: Sequence[str], shifts: Mapping[str, Components]) -> Iterator[Finding]:
    p_by_edit = {edit: p_values(shift_XT[0], shift_XT[1:]) for edit, shift_XT in shifts.items()}
    corrected = holm([float(p_T.min()) for p_T in p_by_edit.values()])
    for (edit, shift_XT), p_value in zip(shifts.items(), corrected, strict=True):
        most = int(np.argmin(p_by_edit[edit] - 1e-6 * shift_XT[0]))
        found = p_value <= ALPHA
        yield Finding(
            subject=edit,
            sentence=(
                f"When {edit}, and nothing else changes, the line's answer to {names[most]} moves by "
                f"{shift_XT[0, most]:.2f}{'' if found else ', as it would by chance'}."
            ),
            verdict=Verdict.FOUND if found else Verdict.NOT_FOUND,
            measure=f"move of the answer to {names[most]}",
            estimate=float(shift_XT[0, most]),
            p_value=p_value,
        )
