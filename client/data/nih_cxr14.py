"""Adapter `nih_cxr14`: NIH ChestX-ray14 (Wang et al. 2017, arXiv:1705.02315; https://nihcc.app.box.com/v/ChestXray-NIHCC).

Read as published, in the form of 2017 or of 2020, one row an image, and each image a study of its own:

    Data_Entry_2017_v2020.csv or Data_Entry_2017.csv    Image Index, Finding Labels, Patient ID, Patient Age, ...
    images_001/images/00000001_000.png ...              pictures in any folder images*/, or images*/images/

No reports are published: each study is unpaired, its findings known. So its split is not read either. No race, no
scanner and no date are published.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from client.data.demographics import demographics_of
from client.data.interface import Adapter
from client.data.listed import ListedStudies, ListedStudy
from client.data.rows import DEFAULT_SITE_COLUMN, Row, how_written, read_table
from client.data.table_file import require_table
from client.data.view_files import picture_reader
from client.data.views import RowsOfStudy, View, studies_in
from common.types import BadRow, StudyRecord

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
REQUIRED = ("Image Index", "Finding Labels", "Patient ID")
OTHERS = ("Patient Age", "Patient Gender", "Patient Sex", "View Position")
NO_FINDING = "No Finding"
FOLDERS = ("images*/*.png", "images*/images/*.png")


def nih_cxr14(
    root: Path,
    *,
    allow_burned_in: bool,  # noqa: ARG001 - a picture file has no tag that says so
    site_column: str = DEFAULT_SITE_COLUMN,
    pixel_bits: int = 0,
) -> Adapter:
    """Adapter over the folder of NIH ChestX-ray14 under `root`.

    Args:
        root: The folder that holds the table and the folders of pictures.
        allow_burned_in: Without effect: a picture file does not say whether text is burned into it.
        site_column: Column of the table that names the site; the data set is one hospital's.
        pixel_bits: Bits of a grey value in pictures of more than eight; the published ones have eight.
    """

    def listed() -> Iterator[ListedStudy | BadRow]:
        table = read_table(require_table(root, *TABLES), required=REQUIRED, others=OTHERS, site_column=site_column)
        places = {path.name: path.relative_to(root).as_posix() for form in FOLDERS for path in root.glob(form)}
        return studies_in(
            table, view_of=lambda row: _view(row, places), record_of=lambda rows: _record(rows, site_column)
        )

    return ListedStudies(
        root=root,
        listed=listed,
        read=picture_reader(pixel_bits=pixel_bits),
        written_as=lambda: how_written(require_table(root, *TABLES), required=REQUIRED),
        report_remedy="no table would bring it: NIH ChestX-ray14 publishes no reports",
        image_remedy=f"{TABLES[0]} would bring it in column Image Index",
    )


def _view(row: Row, places: dict[str, str]) -> View:
    name = row.require("Image Index")
    return View(name, row.require("Patient ID"), places.get(name, name), row.get("View Position") or "")


def _record(rows: RowsOfStudy, site_column: str) -> StudyRecord:
    row = rows.row
    who = demographics_of(sex=row.get("Patient Gender") or row.get("Patient Sex"), age=row.get("Patient Age"))
    names = dict.fromkeys(part.strip() for part in (row.get("Finding Labels") or "").split("|"))
    return StudyRecord(
        study_id=rows.study_id,
        patient_id=rows.patient_id,
        report="",
        sex=who.sex,
        age=who.age,
        site=row.get(site_column),
        findings=tuple(name for name in names if name not in {"", NO_FINDING}),
        unread=who.unread,
    )
