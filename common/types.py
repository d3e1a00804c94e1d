"""The nouns that both sides share: a study, one that lacks a half, and a row that could not be read."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.errors import DataError

Image: TypeAlias = NDArray[np.uint8]
"""Grey image, `[height, width]`, 0 black to 255 white, already windowed for display."""


class Lacks(StrEnum):
    """The half that an unpaired study has not."""

    REPORT = "report"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """What is known of one study beside its image; small enough to keep for every study of a site.

    Attributes:
        study_id: Unique within its data set.
        patient_id: The unit of privacy; every study of a patient shares it.
        report: Text of the report.
        sex: "F", "M", "O" (other), or None where it is not known.
        age: Years, or None.
        race: As recorded, or None.
        scanner: Name of the scanner model, or None.
        language: Of the report, as recorded, or None.
        site: The hospital that holds the study, or None where the data set has one site.
        findings: Names of findings, where the data set labels them.
        split_group: Studies of one group never stand on both sides of a split; the patient unless given.
        unread: Optional fields that held something that was not understood, and count as not known.
        lacks: The half that the study has not, where it is read to be trained on all the same; None where it has both.
        date: Day on which it was made, or None; for searching at the hospital itself, and kept for nothing else.
        modality: DICOM's short name, such as CT, or None; likewise.
    """

    study_id: str
    patient_id: str
    report: str
    sex: str | None = None
    age: int | None = None
    race: str | None = None
    scanner: str | None = None
    language: str | None = None
    site: str | None = None
    findings: tuple[str, ...] = ()
    split_group: str = ""
    unread: tuple[str, ...] = ()
    lacks: Lacks | None = None
    date: datetime.date | None = None
    modality: str | None = None

    def __post_init__(self) -> None:
        if not self.split_group:
            object.__setattr__(self, "split_group", self.patient_id)


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """One study as an adapter yields it, decoded.

    Attributes:
        record: What is known of it beside its images.
        image: Its first image.
        other_images: Its further images, in the order of the data set: other views of the same record.
    """

    record: StudyRecord
    image: Image
    other_images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True)
class Unpaired:
    """A study that by its archive has no report, or no image: it is kept and counted, and trained on where a run asks.

    Attributes:
        record: What is known of it; the report is "" where it has none.
        lacks: What it has not.
        remedy: What would bring that, in the hospital's words, without patient data.
        images: Its images, its main one first, where they were decoded.
    """

    record: StudyRecord
    lacks: Lacks
    remedy: str
    images: tuple[Image, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row, file or instance that could not become a study; it is listed and counted, never skipped silently.

    Attributes:
        file: The file, relative to the data root.
        row: 1-based line in that file (the header is line 1); 0 where the file has no rows.
        reason: What is wrong, in the hospital's words, without patient data.
    """

    file: str
    row: int
    reason: str


class UnusableRow(DataError):
    """One row, file or instance cannot become a study; the message is the reason of its `BadRow`."""
