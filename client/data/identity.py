"""What a data set is called in the ledger, and what it holds; what the public studies are called in a run.

A hospital's data set has two digests, on purpose not one. The ledger adds up what was spent under the first; were it
taken over the content, a hospital that adds one study would open a new account and its budget would begin anew. The
second changes with every study and says which data a run saw. It is as private as the data: who
knows all patients but one can tell from it whether that one is there, so it is shown at the hospital and written into
nothing that leaves, the ledger's signed head among them (common/decisions/0011-site-policy.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass

import numpy as np

from common.canonical import digest
from common.types import Image, Study


@dataclass(frozen=True, slots=True, order=True)
class StudyDigest:
    """One study, as far as it matters to what a model may learn of it.

    Attributes:
        study_id: Unique within the data set.
        patient_id: Whose it is.
        image: SHA-256 of the decoded image.
        report: SHA-256 of the report's text.
    """

    study_id: str
    patient_id: str
    image: str
    report: str


def dataset_digest(*, site: str, name: str) -> str:
    """What a hospital's data set is called in its ledger: SHA-256 of the two names that the hospital gives it.

    It stays when studies are added, removed or mended, and it says nothing of them. A hospital that renames its data
    set opens a new account: it does so only for patients who have spent nothing.
    """
    return digest({"site": site, "data": name})


def content_digest(studies: Iterable[StudyDigest]) -> str:
    """SHA-256 over the studies, whatever their order; private, see above."""
    return digest([astuple(study) for study in sorted(studies)])


def anchors_digest(contents: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over the public studies of a run in their order: the digests of each one's image and report."""
    return digest(list(contents))


def content_of(study: Study) -> tuple[str, str]:
    """Digests of a study's image and of its report."""
    return image_digest(study.image), report_digest(study.record.report)


def image_digest(image: Image) -> str:
    """SHA-256 of a decoded image, its shape included."""
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def report_digest(report: str) -> str:
    """SHA-256 of a report's text."""
    return hashlib.sha256(report.encode()).hexdigest()
