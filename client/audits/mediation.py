"""Does a gap between a group and the others come through the images, through the reports, or through neither?

For each group, lines learn from everybody else, as a model does that was trained elsewhere: the stand-in from images
to reports, and for each half one that tells a study's findings. How well they are told is the half's *quality*. The
gap in match between image and report is then cut by least squares,

    match = direct * others + b * quality of the image + d * quality of the report,

into b times the gap in image quality, d times the gap in report quality, and the rest, which is direct; their sum is
the gap (Baron and Kenny, 1986; of several mediators VanderWeele and Vansteelandt, 2014, 10.1515/em-2012-0010). It
reads as cause and effect (Imai et al., 2010, 10.1037/a0020761) where nothing else moves both quality and match; the
audit says "through", and no more.

What is tested is whether a half's quality is lower in the group. In each exchange the lines are fitted anew, without
whoever is in the group then: so every exchange, and what was seen, is treated alike, and the p-values are exact.

Shapes: N studies, K findings, D components, C groups, X what was seen and the exchanges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.audits.attributes import finding_labels
from client.audits.contrasts import interval
from client.audits.features import Components
from client.audits.interface import ALPHA, Audited, Finding, Verdict, forest
from client.audits.linear import cross_fitted_without, folds_of
from client.audits.permutation import PatientExchange, p_values
from client.audits.stand_in import fit_stand_in
from client.audits.studies import AuditedStudies
from client.audits.traits import EXPECTED, Trait, traits_of
from client.audits.words import group_words
from common.seeds import numpy_generator

QUESTION = "Does a gap between a group and the others come through images, through reports, or through neither?"
HALVES = ("images", "reports")
NUM_REFITS = 399
"""Exchanges; fewer than elsewhere, for each is a refit of ten lines a group."""

AT_ONCE = 20
"""Exchanges that are fitted together; more would only take more memory."""


@dataclass(frozen=True, kw_only=True)
class _Tested:
    """One group: the gap in match, and of each half the part of it, the loss of quality, its interval and p-value."""

    trait: str
    group: str
    gap: float
    parts: tuple[float, float]
    losses: Components
    intervals: tuple[Components, Components]
    p_values: Components


def audit_mediation(studies: AuditedStudies, images_ND: Components, reports_NE: Components) -> Audited:
    """Each group of sex, age and race, corrected for the groups and halves of its attribute."""
    names, finding_NK = finding_labels(studies)
    traits = [trait for trait in traits_of(studies)[0] if trait.is_of_patients] if names else []
    findings = tuple(
        finding
        for trait in traits
        for tested in _tests(trait, images_ND, reports_NE, finding_NK)
        for finding in _findings(tested)
    )
    if not findings:
        cannot = "Too few studies with findings, or too few patients in two groups, to tell what a gap goes through."
        findings = (Finding(subject="gaps", sentence=cannot, verdict=Verdict.CANNOT_TELL, measure="quality"),)
    return Audited(name="mediation", question=QUESTION, findings=findings, figure=forest(findings))


def _tests(trait: Trait, images_ND: Components, reports_NE: Components, finding_NK: Components) -> Iterator[_Tested]:
    rows, patients = trait.grouped.rows, trait.grouped.patients
    halves, finding_NK = (images_ND[rows], reports_NE[rows]), finding_NK[rows]
    rng = numpy_generator(0, "audit", "mediation", trait.name)
    orders = PatientExchange(patients, trait.grouped.sites, rng).orders(NUM_REFITS)
    order_XN = np.vstack([np.arange(len(rows)), orders])
    fold_N = folds_of(patients)
    loss_X2C = np.stack(
        [[losses(half, finding_NK, fold_N, member_N[order_XN]) for member_N in trait.member.T] for half in halves]
    ).transpose(2, 0, 1)
    p_2C = p_values(loss_X2C[0].ravel(), loss_X2C[1:].reshape(NUM_REFITS, -1)).reshape(loss_X2C.shape[1:])
    for c, (name, member_N) in enumerate(zip(trait.classes, trait.member.T, strict=True)):
        quality_N2 = np.column_stack([quality(half, finding_NK, fold_N, member_N[None])[0] for half in halves])
        inside_N = member_N.astype(bool)
        match_N = fit_stand_in(*halves, patients, learns_N=~inside_N).match(*halves)
        low_12, high_12 = interval(member_N[None], -quality_N2, patients, rng)
        yield _Tested(
            trait=trait.name,
            group=name,
            gap=float(match_N[~inside_N].mean() - match_N[inside_N].mean()),
            parts=parts_of_gap(match_N, quality_N2, inside_N),
            losses=loss_X2C[0, :, c],
            intervals=(low_12[0], high_12[0]),
            p_values=p_2C[:, c],
        )


def quality(
    half_ND: Components, finding_NK: Components, fold_N: NDArray[np.int64], member_XN: Components
) -> Components:
    """How well lines that learnt from everybody but the members tell each study's findings, `[X, N]`: 1 is best.

    The cosine of what is told and what is true, drawn towards 0 where less is told than on average: a cosine of next
    to nothing says next to nothing.
    """
    said_XNK, true_XNK = cross_fitted_without(half_ND, finding_NK, fold_N, member_XN)
    said_XN, true_XN = np.linalg.norm(said_XNK, axis=2), np.linalg.norm(true_XNK, axis=2)
    length_XN = (said_XN + said_XN.mean(axis=1, keepdims=True)) * true_XN
    return np.asarray((said_XNK * true_XNK).sum(axis=2) / np.maximum(length_XN, 1e-12))


def losses(half_ND: Components, finding_NK: Components, fold_N: NDArray[np.int64], member_XN: Components) -> Components:
    """How far the members' mean quality is below the others', `[X]`, each time learnt from the others alone."""
    found = []
    for start in range(0, len(member_XN), AT_ONCE):
        inside_XN = member_XN[start : start + AT_ONCE]
        quality_XN, num_X = quality(half_ND, finding_NK, fold_N, inside_XN), inside_XN.sum(axis=1)
        sum_X = (quality_XN * inside_XN).sum(axis=1)
        found.append((quality_XN.sum(axis=1) - sum_X) / (inside_XN.shape[1] - num_X) - sum_X / num_X)
    return np.concatenate(found)


def parts_of_gap(match_N: Components, quality_N2: Components, member_N: NDArray[np.bool_]) -> tuple[float, float]:
    """What of the gap in match goes through the quality of images, and of reports; the rest of it is direct."""
    design = np.column_stack([np.ones(len(match_N)), ~member_N, quality_N2])
    slopes_2 = np.linalg.lstsq(design, match_N, rcond=None)[0][2:]
    images, reports = slopes_2 * (quality_N2[~member_N].mean(axis=0) - quality_N2[member_N].mean(axis=0))
    return float(images), float(reports)


def _findings(tested: _Tested) -> Iterator[Finding]:
    there = Verdict.EXPECTED if tested.trait in EXPECTED else Verdict.FOUND
    for half, name in enumerate(HALVES):
        is_there = bool(tested.p_values[half] <= ALPHA)
        yield Finding(
            subject=f"{group_words(tested.trait, tested.group)}, through {name}",
            sentence=_sentence(tested, half, is_there=is_there),
            verdict=there if is_there else Verdict.NOT_FOUND,
            measure="loss of quality: how much worse findings are told",
            estimate=float(tested.losses[half]),
            low=float(tested.intervals[0][half]),
            high=float(tested.intervals[1][half]),
            p_value=float(tested.p_values[half]),
        )


def _sentence(tested: _Tested, half: int, *, is_there: bool) -> str:
    name, who = HALVES[half], group_words(tested.trait, tested.group)
    if not is_there:
        return f"Learnt from everybody else, the {name} of {who} tell their findings as well as the others', or nearly."
    direct = tested.gap - sum(tested.parts)
    return (
        f"Learnt from everybody else, the {name} of {who} tell their findings worse, by {tested.losses[half]:.2f} "
        f"where 1 is perfect. Of the gap in match between image and report, {tested.gap:+.3f}, "
        f"{tested.parts[half]:+.3f} goes through the {name}, {direct:+.3f} through neither half."
    )
