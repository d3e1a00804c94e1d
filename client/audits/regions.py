"""Which parts of the pictures go with a group, with studies that are not found again, or with a finding?

After RAVL (Varma et al., 2024, arXiv:2411.04097): pictures are cut into regions, regions are clustered (`looks.py`),
and each cluster has an *influence*: how far its presence goes with a group, with how late the stand-in finds a
study's image by its report, where what findings explain has been taken away, or with a finding. A look that goes
with race or with studies that are found late counts. With sex, age or a disease looks go by themselves: no figure
tells a lesion from a letter that always lies beside it, but a person can. So examples are shown.

P-values are those of whole patients who exchange their groups, ranks or findings, corrected for all looks, and
for groups and ranks together, and all findings together. They are exact for groups and findings; of ranks that were
adjusted for findings nearly so.

Shapes: N studies, L looks, C classes, K findings, M exchanges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.audits.association import correlations
from client.audits.attributes import finding_labels
from client.audits.features import Components
from client.audits.interface import ALPHA, Audited, Finding, Verdict
from client.audits.looks import Looks, Place, looks_of
from client.audits.permutation import PatientExchange, holm, p_values
from client.audits.stand_in import fit_stand_in
from client.audits.studies import AuditedStudies
from client.audits.traits import EXPECTED, traits_of
from client.audits.words import group_words, percent
from common.fairness.groups import LEAST_PATIENTS
from common.seeds import numpy_generator
from common.types import Image

QUESTION = "Which parts of the pictures go with a group, with studies that are not found again, or with a finding?"
LATE = "studies that are not found again"
MOST_FINDINGS = 10
"""The most frequent ones; they are shown for a person to judge, and who looks through more?"""

MOST_EXAMPLES = 4


@dataclass(frozen=True, kw_only=True)
class Example:
    """Pictures with and without a look; a hospital's own, shown on its page and nowhere else.

    Attributes:
        subject: Of the finding that they belong to.
        place: Where to look.
        bearing: Pictures that have the look, of as many patients.
        others: Pictures that do not.
    """

    subject: str
    place: Place
    bearing: tuple[Image, ...]
    others: tuple[Image, ...]


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What may go with looks: values of one kind, `[N, C]`, of the studies `rows`; `there` is what it means."""

    name: str
    classes: tuple[str, ...] = ("",)
    value: Components
    rows: NDArray[np.int64]
    there: Verdict

    @property
    def subject(self) -> str:
        return LATE if self.name == LATE else f"{group_words(self.name)}, by region"


@dataclass(frozen=True, kw_only=True)
class _Tested:
    """The look that goes best with what was asked, and the class of it."""

    asked: _Asked
    best: int
    look: int
    influence: float
    p_value: float


def audit_regions(studies: AuditedStudies, images_ND: Components, reports_NE: Components) -> Audited:
    """Groups, late studies and findings against every look of every place."""
    looks = looks_of(list(studies.pictures))
    counted = [*_groups(studies), _lateness(studies, images_ND, reports_NE)]
    tested = [*_tests(counted, studies, looks), *_tests(list(_of_findings(studies)), studies, looks)]
    findings = tuple(_finding(one, p_value, looks) for one, p_value in tested)
    if not findings:
        cannot = "Too few patients, or pictures that are all the same, to tell what their parts go with."
        findings = (Finding(subject="regions", sentence=cannot, verdict=Verdict.CANNOT_TELL, measure="influence"),)
    examples = [_example(one, studies, looks) for one, p_value in tested if p_value <= ALPHA]
    return Audited(name="regions", question=QUESTION, findings=findings, figure={"examples": examples})


def _groups(studies: AuditedStudies) -> Iterator[_Asked]:
    for trait in traits_of(studies)[0]:
        if trait.is_of_patients:
            there = Verdict.EXPECTED if trait.name in EXPECTED else Verdict.FOUND
            rows = trait.grouped.rows
            yield _Asked(name=trait.name, classes=trait.classes, value=trait.member, rows=rows, there=there)


def _lateness(studies: AuditedStudies, images_ND: Components, reports_NE: Components) -> _Asked:
    """How late each study's image is found by its report, less what its findings explain."""
    patients = tuple(record.patient_id for record in studies.records)
    rank_N = fit_stand_in(images_ND, reports_NE, patients).rank(images_ND, reports_NE)
    design_NK = np.column_stack([np.ones(len(rank_N)), finding_labels(studies)[1]])
    late_N = rank_N - design_NK @ np.linalg.lstsq(design_NK, rank_N, rcond=None)[0]
    return _Asked(name=LATE, value=late_N[:, None], rows=np.arange(len(rank_N)), there=Verdict.FOUND)


def _of_findings(studies: AuditedStudies) -> Iterator[_Asked]:
    names, finding_NK = finding_labels(studies)
    for name, label_N in zip(names[:MOST_FINDINGS], finding_NK.T[:MOST_FINDINGS], strict=True):
        yield _Asked(name=name, value=label_N[:, None], rows=np.arange(len(label_N)), there=Verdict.EXPECTED)


def _tests(family: Sequence[_Asked], studies: AuditedStudies, looks: Looks) -> list[tuple[_Tested, float]]:
    """Each of what may go with looks, and its p-value corrected for all of them."""
    tested = [test for asked in family if (test := _test(asked, studies, looks)) is not None]
    return list(zip(tested, holm([one.p_value for one in tested]), strict=True))


def _test(asked: _Asked, studies: AuditedStudies, looks: Looks) -> _Tested | None:
    """The best of all looks that patients enough have and lack, or None where there is none."""
    records = [studies.records[row] for row in asked.rows]
    patients = [record.patient_id for record in records]
    present_NL = looks.present[asked.rows]
    known = np.flatnonzero(_are_common(present_NL, patients))
    if not len(known):
        return None
    rng = numpy_generator(0, "audit", "regions", asked.name)
    order_MN = PatientExchange(patients, [record.site or "" for record in records], rng).orders()
    seen_CL = _influence(asked, present_NL[:, known], np.arange(len(patients))[None])[0]
    exchanged_MCL = _influence(asked, present_NL[:, known], order_MN)
    p_CL = p_values(seen_CL.ravel(), exchanged_MCL.reshape(len(order_MN), -1)).reshape(seen_CL.shape)
    best, look = divmod(int(np.argmin(p_CL - 1e-6 * seen_CL)), len(known))
    return _Tested(
        asked=asked,
        best=best,
        look=int(known[look]),
        influence=float(seen_CL[best, look]),
        p_value=float(p_CL[best, look]),
    )


def _influence(asked: _Asked, present_NL: Components, order_MN: NDArray[np.int64]) -> Components:
    """How far looks go with each class, either way, `[M, C, L]`; lateness alone has a bad way."""
    signed_MCL = correlations(asked.value, present_NL, order_MN)
    return signed_MCL if asked.name == LATE else np.abs(signed_MCL)


def _are_common(present_NL: Components, patients: Sequence[str]) -> NDArray[np.bool_]:
    """Which looks enough patients have in a picture, and enough lack in one."""
    _, patient_N = np.unique(np.array(patients, dtype=str), return_inverse=True)
    patient_NP = (patient_N[:, None] == np.arange(patient_N.max(initial=-1) + 1)).astype(np.float64)
    num_L = [(patient_NP.T @ there_NL > 0).sum(axis=0) for there_NL in (present_NL, 1.0 - present_NL)]
    return np.asarray(np.minimum(*num_L) >= LEAST_PATIENTS)


def _finding(tested: _Tested, p_value: float, looks: Looks) -> Finding:
    is_there = p_value <= ALPHA
    return Finding(
        subject=tested.asked.subject,
        sentence=_sentence(tested, looks, is_there=is_there),
        verdict=tested.asked.there if is_there else Verdict.NOT_FOUND,
        measure="influence: correlation with the look",
        estimate=tested.influence,
        p_value=p_value,
    )


def _sentence(tested: _Tested, looks: Looks, *, is_there: bool) -> str:
    asked, place = tested.asked, looks.places[tested.look].words
    name = group_words(asked.name)
    if not is_there:
        return f"No part of the pictures goes with {name} more than chance explains."
    present_N, value_N = looks.present[asked.rows, tested.look], asked.value[:, tested.best]
    if asked.name == LATE:
        later = percent(float(value_N[present_N > 0].mean() - value_N[present_N == 0].mean()))
        return f"Pictures with a certain look of the {place} are found later, by {later} of the others."
    inside, outside = (percent(float(present_N[value_N == of].mean())) for of in (1.0, 0.0))
    whose = f"of {group_words(asked.name, asked.classes[tested.best])}" if asked.classes[0] else f"with {name}"
    return f"A certain look of the {place} is in {inside} of the pictures {whose}, in {outside} of the others."


def _example(tested: _Tested, studies: AuditedStudies, looks: Looks) -> Example:
    rows, place = tested.asked.rows, looks.places[tested.look]
    present_N = looks.present[rows, tested.look]
    bearing, others = (_typical(rows[present_N == of], studies, place) for of in (1.0, 0.0))
    return Example(subject=tested.asked.subject, place=place, bearing=bearing, others=others)


def _typical(rows: NDArray[np.int64], studies: AuditedStudies, place: Place) -> tuple[Image, ...]:
    """The pictures of a few patients that are nearest to the mean of all of them at a place."""
    crop_NF = studies.pictures[rows][:, *place.window(studies.pictures.shape[1])].reshape(len(rows), -1).astype(float)
    distance_N = np.linalg.norm(crop_NF - crop_NF.mean(axis=0), axis=1)
    nearest: dict[str, int] = {}
    for row in rows[np.argsort(distance_N, kind="stable")]:
        nearest.setdefault(studies.records[row].patient_id, int(row))
    return tuple(studies.pictures[row] for row in list(nearest.values())[:MOST_EXAMPLES])
