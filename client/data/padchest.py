"""Adapter `padchest`: PadChest (Bustos et al. 2020, arXiv:1901.07441; https://bimcv.cipf.es/bimcv-projects/padchest/).

Read as published in February 2019, one row an image:

    PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv    plain or `.csv.gz`
    0/ID.png ... 54/ID.png                                  16-bit pictures, in the folder that ImageDir names, or here

The report is the Spanish text of column Report, which the data set publishes as word stems without stop words, so an
English text encoder understands little of it. Age is the study's year less the year of birth. Views whose Projection is
EXCLUDE (not a chest, or not readable) come last. The manufacturer stands for the scanner, the study's date
is that of the table. No race and no split are
published. `data.pixel_bits` says how many bits the pictures have; without it each is shown over its own range.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from client.data.acquisition import acquisition_of
from client.data.demographics import demographics_of
from client.data.images import first_there
from client.data.interface import Adapter
from client.data.listed import ListedStudies, ListedStudy
from client.data.report_text import joined
from client.data.rows import DEFAULT_SITE_COLUMN, Row, how_written, read_table
from client.data.table_file import require_table
from client.data.view_files import picture_reader
from client.data.views import RowsOfStudy, View, studies_in
from common.types import BadRow, StudyRecord

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
REQUIRED = ("ImageID", "StudyID", "PatientID", "Report")
OTHERS = (
    *("ImageDir", "StudyDate_DICOM", "PatientBirth", "PatientSex_DICOM", "ViewPosition_DICOM", "Projection"),
    *("Manufacturer_DICOM", "Modality_DICOM", "Labels"),
)
NO_FINDINGS = frozenset({"", "normal", "exclude", "unchanged"})
"""Labels that name none."""
NOTHING = frozenset({"nan", "none"})
"""What stands for a blank report."""

_YEAR = re.compile(r"(?P<year>[0-9]{4})(?:\.0|[0-9]{4}(?:\.0)?)?")
_LIST = re.compile(r"\[.*\]", re.DOTALL)
_NAME = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def padchest(
    root: Path,
    *,
    allow_burned_in: bool,  # noqa: ARG001 - a picture file has no tag that says so
    site_column: str = DEFAULT_SITE_COLUMN,
    pixel_bits: int = 0,
) -> Adapter:
    """Adapter over the folder of PadChest under `root`.

    Args:
        root: The folder that holds the table and the folders of pictures.
        allow_burned_in: Without effect: a picture file does not say whether text is burned into it.
        site_column: Column of the table that names the site; the data set is one hospital's.
        pixel_bits: Bits of a grey value; 0 where that is not declared.
    """

    def listed() -> Iterator[ListedStudy | BadRow]:
        table = read_table(require_table(root, TABLE), required=REQUIRED, others=OTHERS, site_column=site_column)
        return studies_in(
            table, view_of=lambda row: _view(root, row), record_of=lambda rows: _record(rows, site_column)
        )

    return ListedStudies(
        root=root,
        listed=listed,
        read=picture_reader(pixel_bits=pixel_bits),
        written_as=lambda: how_written(require_table(root, TABLE), required=REQUIRED),
        report_remedy=f"{TABLE} would bring it in column Report",
        image_remedy=f"{TABLE} would bring it in column ImageID",
    )


def _view(root: Path, row: Row) -> View:
    image, folder = row.require("ImageID"), row.get("ImageDir")
    path = first_there(root, [f"{folder}/{image}", image] if folder else [image])
    position = row.get("Projection") or row.get("ViewPosition_DICOM") or ""
    return View(row.require("StudyID"), row.require("PatientID"), path, position)


def _record(rows: RowsOfStudy, site_column: str) -> StudyRecord:
    row = rows.row
    who = demographics_of(sex=row.get("PatientSex_DICOM"), age=_age(row))
    made = acquisition_of(date=row.get("StudyDate_DICOM"), modality=row.get("Modality_DICOM"))
    report = joined([row.get("Report") or ""])
    findings, is_list = _findings(row.get("Labels") or "")
    return StudyRecord(
        study_id=rows.study_id,
        patient_id=rows.patient_id,
        report="" if report.casefold() in NOTHING else report,
        sex=who.sex,
        age=who.age,
        scanner=row.get("Manufacturer_DICOM"),
        language="Spanish",
        site=row.get(site_column),
        findings=findings,
        unread=(*who.unread, *made.unread, *(() if is_list else ("findings",))),
        date=made.date,
        modality=made.modality,
    )


def _age(row: Row) -> str:
    """Years between birth and study as text, "" where one is blank, and what is not understood where one is no year."""
    texts = [row.get("StudyDate_DICOM"), row.get("PatientBirth")]
    if None in texts:
        return ""
    found = [_YEAR.fullmatch(text or "") for text in texts]
    years = [int(match["year"]) for match in found if match]
    return str(years[0] - years[1]) if len(years) == len(texts) else "no year"


def _findings(text: str) -> tuple[tuple[str, ...], bool]:
    """The names in a Python list as text, and whether it is one; it is never evaluated."""
    names = [(single or double).strip() for single, double in _NAME.findall(text)]
    is_list = text.casefold() in {"", *NOTHING} or _LIST.fullmatch(text) is not None
    return tuple(dict.fromkeys(name for name in names if name not in NO_FINDINGS)), is_list
