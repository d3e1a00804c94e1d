"""What landed of a study, looked at: that it is what was asked for, whose it is, its images and its report.

The one place where an archive's bytes are believed. Images get their SOPInstanceUID as name; documents and instances
without a picture are taken off the disk, their text kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.pixels.utils import get_expected_length

from client.data.dicom_image import PIXEL_KEYWORDS, mended, read_instance
from client.pacs.faults import StudyRefused
from client.pacs.interface import is_uid
from client.pacs.structured_report import is_report, report_text
from common.types import UnusableRow

MOST_REPORT_CHARACTERS = 1 << 20


@dataclass(frozen=True)
class Contents:
    """What was fetched of one study.

    Attributes:
        study_uid: Its StudyInstanceUID.
        patient_id: Of all its instances; "" where they have none, or there are none.
        accession: AccessionNumber of all its images, or without any of all its instances; "" where it is not one.
        num_images: Images of it on the disk.
        report: Text of its structured reports; "" where there are none.
    """

    study_uid: str
    patient_id: str = ""
    accession: str = ""
    num_images: int = 0
    report: str = ""


def look_at(study_uid: str, landed: Mapping[str, Sequence[Path]]) -> Contents:
    """Check and sort the instances of a study.

    Args:
        study_uid: The study that was asked for.
        landed: SeriesInstanceUID that was asked for, to the files that came.

    Raises:
        StudyRefused: An instance is no DICOM, damaged, of another study or series, or there twice; or the instances
            name several patients.
        OSError: A file cannot be renamed or removed.
    """
    seen: set[str] = set()
    patients: set[str] = set()
    of_images, of_others = set[str](), set[str]()
    documents: list[Dataset] = []
    num_images = 0
    for path, series_uid in ((path, series_uid) for series_uid, paths in landed.items() for path in paths):
        dataset = _read(path, study_uid, series_uid, seen)
        patients.add(dataset.PatientID)
        if any(dataset.get(keyword) for keyword in PIXEL_KEYWORDS):
            of_images.add(dataset.AccessionNumber)
            path.rename(path.with_name(f"{dataset.SOPInstanceUID}.dcm"))
            num_images += 1
        else:
            of_others.add(dataset.AccessionNumber)
            documents += [dataset] if is_report(dataset) else []
            path.unlink()
    if len(patients - {""}) > 1:
        raise StudyRefused("its instances name several patients")
    return Contents(
        study_uid,
        patient_id=_only(patients),
        accession=_only(of_images or of_others),
        num_images=num_images,
        report=_report(documents),
    )


def _read(path: Path, study_uid: str, series_uid: str, seen: set[str]) -> Dataset:
    """An instance that is what was asked for; its identifiers are text, "" where they are absent."""
    try:
        dataset = read_instance(path)
        with mended():
            _check(dataset, study_uid, series_uid, seen)
            _check_picture(dataset)
            for keyword in ("PatientID", "AccessionNumber"):
                setattr(dataset, keyword, str(dataset.get(keyword) or "").strip(" \0"))
    except StudyRefused:
        raise
    except UnusableRow as error:
        raise StudyRefused("an instance is no DICOM file, or damaged") from error
    except Exception as error:  # a damaged header raises nearly anything
        raise StudyRefused("an instance has a damaged header") from error
    return dataset


def _check(dataset: Dataset, study_uid: str, series_uid: str, seen: set[str]) -> None:
    if (dataset.get("StudyInstanceUID"), dataset.get("SeriesInstanceUID")) != (study_uid, series_uid):
        raise StudyRefused("an instance is of another study or series than was asked for")
    name = str(dataset.get("SOPInstanceUID") or "")
    if not is_uid(name):
        raise StudyRefused("an instance has a SOPInstanceUID that is no UID")
    if name in seen:
        raise StudyRefused("an instance came twice")
    seen.add(name)


def _check_picture(dataset: Dataset) -> None:
    """Check that the grey values of a picture are all there; of a compressed one only that there are some."""
    is_there = any(dataset.get(keyword) for keyword in PIXEL_KEYWORDS)
    if "PixelData" in dataset and not dataset.file_meta.TransferSyntaxUID.is_compressed:
        is_there = len(dataset.PixelData or b"") >= get_expected_length(dataset)
    if dataset.get("Rows") and not is_there:
        raise StudyRefused("an instance is cut short")


def _only(values: set[str]) -> str:
    """The one value of all; "" where they are not one: then nothing can be joined."""
    return next(iter(values)) if len(values) == 1 else ""


def _report(documents: list[Dataset]) -> str:
    try:
        with mended():
            text = report_text(documents)
    except Exception as error:
        raise StudyRefused("its structured report is damaged") from error
    if len(text) > MOST_REPORT_CHARACTERS:
        raise StudyRefused(f"its structured report is longer than {MOST_REPORT_CHARACTERS:,} characters")
    return text
