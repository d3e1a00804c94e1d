"""All audits of a hospital's studies, in one go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from client.audits.attributes import audit_attributes
from client.audits.features import fit_features
from client.audits.interface import Audited
from client.audits.language import audit_language
from client.audits.mediation import audit_mediation
from client.audits.regions import audit_regions
from client.audits.studies import AuditedStudies
from client.audits.swaps import audit_swaps
from client.audits.terms import Terms
from common.encoders.interface import Encoder


@dataclass(frozen=True, kw_only=True)
class BiasAudit:
    """What all audits found; exact, and the hospital's own.

    Attributes:
        title: Whose studies they are.
        num_studies: Studies that were audited.
        num_patients: Their patients.
        num_left_out: Patients beyond the most that are looked at.
        audits: Each audit's answers.
    """

    title: str
    num_studies: int
    num_patients: int
    num_left_out: int
    audits: tuple[Audited, ...]

    @property
    def num_found(self) -> int:
        """Findings of all audits."""
        return sum(len(audit.found) for audit in self.audits)

    def as_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "title": self.title,
            "studies": self.num_studies,
            "patients": self.num_patients,
            "patients_left_out": self.num_left_out,
            "found": self.num_found,
            "audits": [audit.as_json() for audit in self.audits],
        }


def audit_bias(studies: AuditedStudies, terms: Terms, *, title: str, encoder: Encoder | None = None) -> BiasAudit:
    """Every audit of the studies.

    Args:
        studies: The studies.
        terms: Words that doubt, blame or stigmatise.
        title: Whose studies they are.
        encoder: Its frozen half tells the features; None, or one without, leaves plain ones.
    """
    num_patients = len({record.patient_id for record in studies.records})
    return BiasAudit(
        title=title,
        num_studies=len(studies.records),
        num_patients=num_patients,
        num_left_out=studies.num_patients - num_patients,
        audits=tuple(_audits(studies, terms, encoder)),
    )


def _audits(studies: AuditedStudies, terms: Terms, encoder: Encoder | None) -> Iterator[Audited]:
    yield audit_language(studies, terms)
    features = fit_features(studies, encoder)
    images, reports = features.images(list(studies.pictures)), features.reports([r.report for r in studies.records])
    yield audit_attributes(studies, {"image": images, "report": reports})
    yield audit_mediation(studies, images, reports)
    yield audit_swaps(studies, features, images, reports)
    yield audit_regions(studies, images, reports)
