"""Does a gap between a group and the others come through the images, through the reports, or through neither?

For each group the stand-in learns from everybody else, as a model does that was trained elsewhere. The gap is how
much better the others' images tell their reports than the group's do. Then each half of the group's studies in turn
is given the others' distribution, mean and spread of every component, while the other half stays: what the gap
shrinks by went through that half, and what neither explains is direct. That is an interventional indirect effect
(Vansteelandt and Daniel, 2017, 10.1097/EDE.0000000000000596) with the components as mediator. It reads as cause and
effect where nothing else moves both group and components; the audit says "through", and no more.

What a half has lost altogether no shift brings back: reports without detail show as a direct gap.

Shapes: N studies, D components of images, E of reports, M exchanges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.audits.features import Components
from client.audits.interface import ALPHA, Audited, Finding, Verdict, forest
from client.audits.permutation import PatientExchange, holm, p_values
from client.audits.stand_in import StandIn, fit_stand_in
from client.audits.studies import AuditedStudies
from client.audits.traits import EXPECTED, Trait, traits_of
from client.audits.words import group_words
from common.seeds import numpy_generator

QUESTION = "Does a gap between a group and the others come through images, through reports, or through neither?"
HALVES = ("images", "reports")

NUM_EXCHANGES = 199
"""Fewer than elsewhere, because each one shifts every component anew."""

NUM_BOOTSTRAP = 200
Members = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class _Tested:
    """One group: its gap, and for each half what goes through it, with an interval and a p-value."""

    trait: str
    group: str
    gap: float
    through: tuple[float, float]
    ends: tuple[tuple[float, float], tuple[float, float]]
    p_values: tuple[float, float]


def audit_mediation(studies: AuditedStudies, images_ND: Components, reports_NE: Components) -> Audited:
    """Each group of sex, age and race: the gap to everybody else, and what of it goes through each half."""
    traits = [trait for trait in traits_of(studies)[0] if trait.is_of_patients]
    tested = [one for trait in traits for one in _tests(trait, images_ND, reports_NE)]
    corrected = holm([p for one in tested for p in one.p_values])
    findings = tuple(_findings(tested, corrected))
    return Audited(name="mediation", question=QUESTION, findings=findings, figure=forest(findings))


def _tests(trait: Trait, images_ND: Components, reports_NE: Components) -> Iterator[_Tested]:
    rows, patients = trait.grouped.rows, trait.grouped.patients
    images_ND, reports_NE = images_ND[rows], reports_NE[rows]
    rng = numpy_generator(0, "audit", "mediation", trait.name)
    order_MN = PatientExchange(patients, trait.grouped.sites, rng).orders(NUM_EXCHANGES)
    for name, member_N in zip(trait.classes, trait.member.T.astype(bool), strict=True):
        stand_in = fit_stand_in(images_ND, reports_NE, patients, learns_N=~member_N)
        match_N = stand_in.match(images_ND, reports_NE)
        seen_2 = _through(stand_in, match_N, images_ND, reports_NE, member_N).mean(axis=1)
        exchanged_M2 = np.array(
            [_through(stand_in, match_N, images_ND, reports_NE, member_N[order_N]).mean(axis=1) for order_N in order_MN]
        )
        p_2 = p_values(seen_2, exchanged_M2)
        shifts_2G = _through(stand_in, match_N, images_ND, reports_NE, member_N)
        low_2, high_2 = _interval(shifts_2G, [patients[i] for i in np.flatnonzero(member_N)], rng)
        yield _Tested(
            trait=trait.name,
            group=name,
            gap=float(match_N[~member_N].mean() - match_N[member_N].mean()),
            through=(float(seen_2[0]), float(seen_2[1])),
            ends=((float(low_2[0]), float(high_2[0])), (float(low_2[1]), float(high_2[1]))),
            p_values=(float(p_2[0]), float(p_2[1])),
        )


def _through(
    stand_in: StandIn, match_N: Components, images_ND: Components, reports_NE: Components, member_N: Members
) -> Components:
    """What each member's match gains when images, and when reports, are given the others' distribution, `[2, G]`."""
    with_images_N = stand_in.match(_as_others(images_ND, member_N), reports_NE)
    with_reports_N = stand_in.match(images_ND, _as_others(reports_NE, member_N))
    return np.stack([with_images_N - match_N, with_reports_N - match_N])[:, member_N]


def _as_others(components_ND: Components, member_N: Members) -> Components:
    """The components, in which the members have the mean and the spread of the others."""
    inside_GD, outside_HD = components_ND[member_N], components_ND[~member_N]
    moved_ND = components_ND.copy()
    scale_D = outside_HD.std(axis=0) / np.maximum(inside_GD.std(axis=0), 1e-6)
    moved_ND[member_N] = (inside_GD - inside_GD.mean(axis=0)) * scale_D + outside_HD.mean(axis=0)
    return moved_ND


def _interval(shifts_2G: Components, patients: list[str], rng: np.random.Generator) -> tuple[Components, Components]:
    """Percentile bootstrap of the means over the group's patients; the distributions are held as they are."""
    names, patient_G = np.unique(np.array(patients, dtype=str), return_inverse=True)
    times_BP = rng.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=NUM_BOOTSTRAP)
    times_BG = times_BP[:, patient_G].astype(np.float64)
    mean_B2 = (times_BG @ shifts_2G.T) / times_BG.sum(axis=1, keepdims=True)
    low_2, high_2 = np.quantile(mean_B2, (0.025, 0.975), axis=0)
    return low_2, high_2


def _findings(tested: list[_Tested], corrected: list[float]) -> Iterator[Finding]:
    for position, one in enumerate(tested):
        who = group_words(one.trait, one.group)
        for half, name in enumerate(HALVES):
            p_value, there = corrected[2 * position + half], Verdict.FOUND
            if one.trait in EXPECTED:
                there = Verdict.EXPECTED
            yield Finding(
                subject=f"{who}, through {name}",
                sentence=_sentence(one, who, half, is_there=p_value <= ALPHA),
                verdict=there if p_value <= ALPHA else Verdict.NOT_FOUND,
                measure="part of the gap in match",
                estimate=one.through[half],
                low=one.ends[half][0],
                high=one.ends[half][1],
                p_value=p_value,
            )


def _sentence(one: _Tested, who: str, half: int, *, is_there: bool) -> str:
    through = one.through[half]
    gap = f"A line learnt from everybody else matches the studies of {who} by {-one.gap:+.3f} against theirs"
    if not is_there:
        return f"{gap}; no more of that goes through the {HALVES[half]} than chance explains."
    direct = one.gap - sum(one.through)
    return f"{gap}; {through:.3f} is lost through the {HALVES[half]}, {direct:+.3f} through neither half."
