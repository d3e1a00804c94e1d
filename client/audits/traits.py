"""The attributes that are audited: of patients, whom a model must not serve worse, and of how a study was made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.audits.marker import PLACES, marker_places
from client.audits.studies import PATIENT_ATTRIBUTES, AuditedStudies, Grouped
from common.fairness.groups import LEAST_PATIENTS

EXPECTED = ("sex", "age_band", "site")
"""What shows in anatomy, disease and case mix without any bias."""


@dataclass(frozen=True, kw_only=True)
class Trait:
    """One attribute with the classes that have patients enough.

    Attributes:
        name: The attribute.
        classes: Its classes, two or more; for the marker, the corners that bear it.
        member: Ones where a study is of a class, `[N, C]`, of the studies of `grouped`.
        grouped: The studies for which it is known; exchanges of the attribute `site` cross hospitals.
    """

    name: str
    classes: tuple[str, ...]
    member: NDArray[np.float64]
    grouped: Grouped

    @property
    def is_of_patients(self) -> bool:
        """Whether it tells patients apart, not how they were imaged."""
        return self.name in PATIENT_ATTRIBUTES


def traits_of(studies: AuditedStudies) -> tuple[list[Trait], list[str]]:
    """The attributes that can be audited, and the names of those that cannot."""
    candidates = list(_candidates(studies))
    return [trait for trait in candidates if trait.classes], [trait.name for trait in candidates if not trait.classes]


def _candidates(studies: AuditedStudies) -> Iterator[Trait]:
    for name in (*PATIENT_ATTRIBUTES, "scanner"):
        yield _of_groups(name, studies.grouped(name))
    sites = [record.site or "" for record in studies.records]
    if len(set(sites)) > 1:
        yield _of_groups("site", studies.grouped_as(sites), crossing=True)
    everyone = studies.grouped_as(["all"] * len(studies.records))
    yield _large("marker", PLACES, marker_places(list(studies.pictures)), everyone, least_classes=1)


def _of_groups(name: str, grouped: Grouped, *, crossing: bool = False) -> Trait:
    classes = tuple(sorted(set(grouped.groups)))
    member_NC = np.array([[group == one for one in classes] for group in grouped.groups], dtype=np.float64)
    one_stratum = ("",) * len(grouped.groups) if crossing else grouped.sites
    held = Grouped(rows=grouped.rows, groups=grouped.groups, patients=grouped.patients, sites=one_stratum)
    return _large(name, classes, member_NC.reshape(len(grouped.groups), len(classes)), held, least_classes=2)


def _large(
    name: str, classes: Sequence[str], member_NC: NDArray[np.float64], grouped: Grouped, *, least_classes: int
) -> Trait:
    """The trait without classes that too few patients are in, or out of; without any where too few are left."""
    patients = np.array(grouped.patients, dtype=str)
    kept = [
        c
        for c in range(len(classes))
        if min(len(set(patients[member_NC[:, c] == of])) for of in (0.0, 1.0)) >= LEAST_PATIENTS
    ]
    kept = kept if len(kept) >= least_classes else []
    return Trait(name=name, classes=tuple(classes[c] for c in kept), member=member_NC[:, kept], grouped=grouped)
