"""Does a gap between a group and the others come through the images, through the reports, or through neither?

For each group, lines learn from everybody else, as a model does that was trained elsewhere: the stand-in from images
to reports, and for each half one that tells a study's findings. How well they are told is the half's *quality*. The
gap in match between image and report is then cut by least squares,

    match = direct * others + b * quality of the image + d * quality of the report,

into b times the gap in image quality, d times the gap in report quality, and the rest, which is direct; their sum is
the gap (Baron and Kenny, 1986; of several mediators VanderWeele and Vansteelandt, 2014, 10.1515/em-2012-0010). It
reads as cause and effect (Imai et al., 2010, 10.1037/a0020761) where nothing else moves both quality and match; the
audit says "through", and no more. What is tested is whether a half's quality is lower in the group.

Shapes: N studies, K findings, D components.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.audits.attributes import finding_labels
from client.audits.contrasts import Contrast, contrasts
from client.audits.features import Components
from client.audits.interface import ALPHA, Audited, Finding, Verdict, forest
from client.audits.permutation import holm
from client.audits.stand_in import fit_stand_in
from client.audits.studies import AuditedStudies
from client.audits.traits import EXPECTED, Trait, traits_of
from client.audits.words import group_words
from common.seeds import numpy_generator

QUESTION = "Does a gap between a group and the others come through images, through reports, or through neither?"
HALVES = ("images", "reports")


@dataclass(frozen=True, kw_only=True)
class _Tested:
    """One group: the gap in match, the parts of it that go through each half, and how each half's quality differs."""

    trait: str
    gap: float
    parts: tuple[float, float]
    halves: tuple[Contrast, Contrast]


def audit_mediation(studies: AuditedStudies, images_ND: Components, reports_NE: Components) -> Audited:
    """Each group of sex, age and race, corrected for the groups and halves of its attribute."""
    names, finding_NK = finding_labels(studies)
    traits = [trait for trait in traits_of(studies)[0] if trait.is_of_patients] if names else []
    findings = tuple(
        finding for trait in traits for finding in _findings(list(_tests(trait, images_ND, reports_NE, finding_NK)))
    )
    if not findings:
        cannot = "Too few studies with findings, or too few patients in two groups, to tell what a gap goes through."
        findings = (Finding(subject="gaps", sentence=cannot, verdict=Verdict.CANNOT_TELL, measure="quality"),)
    return Audited(name="mediation", question=QUESTION, findings=findings, figure=forest(findings))


def _tests(trait: Trait, images_ND: Components, reports_NE: Components, finding_NK: Components) -> Iterator[_Tested]:
    rows, patients = trait.grouped.rows, trait.grouped.patients
    images_ND, reports_NE, finding_NK = images_ND[rows], reports_NE[rows], finding_NK[rows]
    for name, member_N in zip(trait.classes, trait.member.T.astype(bool), strict=True):
        quality_N2 = np.column_stack(
            [
                fit_stand_in(half_ND, finding_NK, patients, learns_N=~member_N).match(half_ND, finding_NK)
                for half_ND in (images_ND, reports_NE)
            ]
        )
        stand_in = fit_stand_in(images_ND, reports_NE, patients, learns_N=~member_N)
        match_N = stand_in.match(images_ND, reports_NE)
        rng = numpy_generator(0, "audit", "mediation", trait.name, name)
        found = contrasts(-quality_N2, trait.grouped, rng=rng, of=name)
        yield _Tested(
            trait=trait.name,
            gap=float(match_N[~member_N].mean() - match_N[member_N].mean()),
            parts=parts_of_gap(match_N, quality_N2, member_N),
            halves=(found[0], found[1]),
        )


def parts_of_gap(match_N: Components, quality_N2: Components, member_N: NDArray[np.bool_]) -> tuple[float, float]:
    """What of the gap in match goes through the quality of images, and of reports; the rest of it is direct."""
    design = np.column_stack([np.ones(len(match_N)), ~member_N, quality_N2])
    slopes_2 = np.linalg.lstsq(design, match_N, rcond=None)[0][2:]
    images, reports = slopes_2 * (quality_N2[~member_N].mean(axis=0) - quality_N2[member_N].mean(axis=0))
    return float(images), float(reports)


def _findings(tested: list[_Tested]) -> Iterator[Finding]:
    corrected = holm([half.p_value for one in tested for half in one.halves])
    for position, one in enumerate(tested):
        for half, contrast in enumerate(one.halves):
            p_value = corrected[2 * position + half]
            there = Verdict.EXPECTED if one.trait in EXPECTED else Verdict.FOUND
            yield Finding(
                subject=f"{group_words(one.trait, contrast.group)}, through {HALVES[half]}",
                sentence=_sentence(one, half, is_there=p_value <= ALPHA),
                verdict=there if p_value <= ALPHA else Verdict.NOT_FOUND,
                measure="loss of quality: how much worse findings are told",
                estimate=contrast.difference,
                low=contrast.low,
                high=contrast.high,
                p_value=p_value,
            )


def _sentence(one: _Tested, half: int, *, is_there: bool) -> str:
    contrast, name = one.halves[half], HALVES[half]
    who = group_words(one.trait, contrast.group)
    if not is_there:
        return f"Learnt from everybody else, the {name} of {who} tell their findings as well as the others', or nearly."
    direct = one.gap - sum(one.parts)
    return (
        f"Learnt from everybody else, the {name} of {who} tell their findings worse, by {contrast.difference:.2f} of a "
        f"correlation. Of the gap in match between image and report, {one.gap:+.3f}, {one.parts[half]:+.3f} goes "
        f"through the {name}, {direct:+.3f} through neither half."
    )
