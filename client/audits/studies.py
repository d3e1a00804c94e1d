"""The studies that an audit looks at, small enough to hold: records, and pictures of `SIDE` x `SIDE`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from common.errors import DataError
from common.fairness.groups import group_of
from common.files import sha256_hex
from common.types import Image, Study, StudyRecord

SIDE = 64
"""Pixels of a picture's side, unless an encoder sees more."""

MOST_PATIENTS = 4000
"""More would make intervals no narrower than anyone reads; patients are kept by the digest of their identifier."""

PATIENT_ATTRIBUTES = ("sex", "age_band", "race")
"""Attributes of a patient, whom an audit protects; the others are of how a study was made."""


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """The studies that have a group.

    Attributes:
        rows: Their positions among all.
        groups: The group of each.
        patients: The patient of each.
        sites: The hospital of each; "" where the data know one alone.
    """

    rows: NDArray[np.int64]
    groups: tuple[str, ...]
    patients: tuple[str, ...]
    sites: tuple[str, ...]


@dataclass(frozen=True)
class AuditedStudies:
    """Studies of one hospital, or of several.

    Attributes:
        records: What is known of each, N.
        pictures: Their first pictures, `[N, side, side]`, grey.
        num_patients: Patients of all studies that were offered; above `MOST_PATIENTS` not all of them are here.
    """

    records: tuple[StudyRecord, ...]
    pictures: NDArray[np.uint8]
    num_patients: int

    def grouped(self, attribute: str) -> Grouped:
        """The studies for which an attribute is recorded."""
        return self.grouped_as([group_of(record).get(attribute, "") for record in self.records])

    def grouped_as(self, groups: Sequence[str]) -> Grouped:
        """The studies with a group, where `groups` holds "" for the others."""
        rows = [i for i, group in enumerate(groups) if group]
        return Grouped(
            rows=np.array(rows, dtype=np.int64),
            groups=tuple(groups[i] for i in rows),
            patients=tuple(self.records[i].patient_id for i in rows),
            sites=tuple(self.records[i].site or "" for i in rows),
        )


def gather(studies: Iterable[Study], *, side: int = SIDE) -> AuditedStudies:
    """The studies to audit, with small pictures of `side` pixels.

    Raises:
        DataError: There are none.
    """
    kept: dict[str, list[tuple[StudyRecord, NDArray[np.uint8]]]] = {}
    seen: set[str] = set()
    last: str | None = None
    for study in studies:
        rank = sha256_hex(study.record.patient_id.encode())
        seen.add(rank)
        if last is not None and rank > last:
            continue
        kept.setdefault(rank, []).append((study.record, small_picture(study.image, side)))
        if len(kept) > MOST_PATIENTS:
            del kept[max(kept)]
            last = max(kept)
    if not kept:
        raise DataError("no study can be read, so there is nothing to audit; wardround site check says why")
    pairs = sorted((pair for pairs in kept.values() for pair in pairs), key=lambda pair: pair[0].study_id)
    return AuditedStudies(
        records=tuple(record for record, _ in pairs),
        pictures=np.stack([picture for _, picture in pairs]),
        num_patients=len(seen),
    )


def small_picture(image: Image, side: int = SIDE) -> Image:
    """A grey image as `[side, side]`."""
    small = PillowImage.fromarray(image).resize((side, side), PillowImage.Resampling.BOX)
    return np.asarray(small, dtype=np.uint8)
