"""Which attribute can be told from image or report, and how much does it tell of the findings?

After G-AUDIT (Drenkow et al., 2025, arXiv:2503.09969): an attribute that a model can see (*detectability*) and that
goes with what it is to learn (*utility*) is a shortcut waiting to be taken. Sex, age and hospital show in anatomy,
disease and case mix, so both are expected of them. A scanner shows in its pictures, which is no fault; it becomes
one where it goes with findings, or with a group of patients. That race can be seen at all is told.

Shapes: N studies, D components, C classes, K findings, M exchanges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.audits.association import correlations, cramers_v
from client.audits.features import Components
from client.audits.interface import ALPHA, Audited, Finding, Verdict
from client.audits.linear import agreement, area_under_curve, cross_fitted, folds_of
from client.audits.permutation import PatientExchange, holm, p_values
from client.audits.studies import AuditedStudies
from client.audits.traits import EXPECTED, Trait, traits_of
from client.audits.words import group_words
from common.fairness.groups import LEAST_PATIENTS
from common.seeds import numpy_generator

QUESTION = "Which attribute can be told from image or report, and how much does it tell of the findings?"
MOST_FINDINGS = 30
AREA, STRENGTH = "area under the curve", "Cramer's V"


@dataclass(frozen=True, kw_only=True)
class _Tested:
    """One test: an attribute by a source, against the findings, or against another attribute."""

    trait: Trait
    against: str
    strongest: str
    measure: str
    estimate: float
    p_value: float


def audit_attributes(studies: AuditedStudies, sources: Mapping[str, Components]) -> Audited:
    """Detectability and utility of every attribute, each with a test by patient, all corrected together.

    Args:
        studies: The studies.
        sources: Components `[N, D]` by source, such as "image" and "report".
    """
    traits, untold = traits_of(studies)
    tested = [test for trait in traits for test in _tests(trait, traits, studies, sources)]
    corrected = holm([test.p_value for test in tested])
    significant = {(test.trait.name, test.against) for test, p in zip(tested, corrected, strict=True) if p <= ALPHA}
    told = tuple(_finding(test, p, significant) for test, p in zip(tested, corrected, strict=True))
    few = tuple(
        Finding(
            subject=group_words(name),
            sentence=f"{group_words(name)} is recorded for too few patients in two groups or more.",
            verdict=Verdict.CANNOT_TELL,
            measure=AREA,
        )
        for name in untold
    )
    return Audited(name="attributes", question=QUESTION, findings=told + few, figure=_plane(tested, told))


def _tests(
    trait: Trait, traits: Sequence[Trait], studies: AuditedStudies, sources: Mapping[str, Components]
) -> Iterator[_Tested]:
    rng = numpy_generator(0, "audit", "attributes", trait.name)
    order_MN = PatientExchange(trait.grouped.patients, trait.grouped.sites, rng).orders()
    for source, components_ND in sources.items():
        yield _detectability(trait, source, components_ND[trait.grouped.rows], order_MN)
    names, finding_NK = finding_labels(studies)
    if names:
        yield _going_together(trait, "findings", names, finding_NK[trait.grouped.rows], order_MN)
    if trait.is_of_patients:
        for other in traits:
            if not other.is_of_patients and other.name != "site":
                known = np.isin(trait.grouped.rows, other.grouped.rows)
                if known.all():
                    own_NC = other.member[np.searchsorted(other.grouped.rows, trait.grouped.rows)]
                    yield _going_together(trait, other.name, other.classes, own_NC, order_MN)


def _detectability(trait: Trait, source: str, components_ND: Components, order_MN: NDArray[np.int64]) -> _Tested:
    fold_N = folds_of(trait.grouped.patients)
    everyone_N = np.arange(len(fold_N))[None]
    area_C, agreement_CM = [], []
    for member_N in trait.member.T:
        label_NM = member_N[np.vstack([everyone_N, order_MN])].T
        score_NM = cross_fitted(components_ND, label_NM, fold_N)
        area_C.append(area_under_curve(score_NM[:, 0], member_N))
        agreement_CM.append(agreement(score_NM, label_NM))
    agreement_MC = np.array(agreement_CM).T
    p_C = p_values(agreement_MC[0], agreement_MC[1:])
    best = int(np.argmin(p_C - 1e-6 * np.array(area_C)))
    return _Tested(
        trait=trait,
        against=source,
        strongest=trait.classes[best],
        measure=AREA,
        estimate=area_C[best],
        p_value=float(p_C.min()),
    )


def _going_together(
    trait: Trait, against: str, names: Sequence[str], label_NK: Components, order_MN: NDArray[np.int64]
) -> _Tested:
    num = len(label_NK)
    seen_CK = np.abs(correlations(trait.member, label_NK, np.arange(num)[None])[0])
    exchanged_MCK = np.abs(correlations(trait.member, label_NK, order_MN))
    p_CK = p_values(seen_CK.ravel(), exchanged_MCK.reshape(len(order_MN), -1)).reshape(seen_CK.shape)
    row, column = divmod(int(np.argmin(p_CK - 1e-6 * seen_CK)), seen_CK.shape[1])
    return _Tested(
        trait=trait,
        against=against,
        strongest=f"{trait.classes[row]} with {names[column]}",
        measure=STRENGTH,
        estimate=cramers_v(float(seen_CK[row, column]), num),
        p_value=float(p_CK[row, column]),
    )


def finding_labels(studies: AuditedStudies) -> tuple[tuple[str, ...], Components]:
    """The most frequent findings of patients enough, and ones where a study has them, `[N, K]`."""
    patients = Counter(name for record in studies.records for name in set(record.findings))
    names = tuple(name for name, count in patients.most_common(MOST_FINDINGS) if count >= LEAST_PATIENTS)
    label_NK = np.array([[name in record.findings for name in names] for record in studies.records], dtype=np.float64)
    return names, label_NK.reshape(len(studies.records), len(names))


def _finding(test: _Tested, p_value: float, significant: set[tuple[str, str]]) -> Finding:
    return Finding(
        subject=f"{group_words(test.trait.name)}, {'by' if test.measure == AREA else 'with'} {test.against}",
        sentence=_sentence(test, is_there=p_value <= ALPHA),
        verdict=_verdict(test, significant) if p_value <= ALPHA else Verdict.NOT_FOUND,
        measure=f"{test.measure}, {test.strongest}",
        estimate=test.estimate,
        p_value=p_value,
    )


def _verdict(test: _Tested, significant: set[tuple[str, str]]) -> Verdict:
    """What a test that is there means."""
    name = test.trait.name
    if test.measure == STRENGTH and test.against != "findings":
        return Verdict.FOUND
    if name in EXPECTED:
        return Verdict.EXPECTED
    if test.measure == AREA:
        return Verdict.FOUND if test.trait.is_of_patients else Verdict.EXPECTED
    is_seen = any(of == name and by not in {"findings", "scanner", "marker"} for of, by in significant)
    return Verdict.FOUND if is_seen else Verdict.EXPECTED


def _sentence(test: _Tested, *, is_there: bool) -> str:
    name = group_words(test.trait.name).capitalize()
    if test.measure == AREA:
        where = f"from the {test.against}"
        if is_there:
            return f"{name} can be told {where}, {test.strongest} best: area under the curve {test.estimate:.2f}."
        return f"{name} cannot be told {where} better than chance explains."
    if is_there:
        return f"{name} goes with {test.against}: {test.strongest}, Cramer's V {test.estimate:.2f}."
    return f"{name} goes with {test.against} no more than chance explains."


def _plane(tested: Sequence[_Tested], told: Sequence[Finding]) -> dict[str, object]:
    """Utility and detectability of each attribute by each source."""
    utility = {test.trait.name: test.estimate for test in tested if test.against == "findings"}
    seen = [test for test in tested if test.measure == AREA]
    verdicts = [finding.verdict for test, finding in zip(tested, told, strict=True) if test.measure == AREA]
    return {
        "label": [f"{group_words(test.trait.name)}, {test.against}" for test in seen],
        "detectability": [test.estimate for test in seen],
        "utility": [utility.get(test.trait.name, 0.0) for test in seen],
        "found": [verdict is Verdict.FOUND for verdict in verdicts],
    }
