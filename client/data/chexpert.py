"""Adapter `chexpert`: CheXpert Plus, and CheXpert v1.0 without reports.

CheXpert Plus (Chambon et al. 2024, arXiv:2405.19538; https://github.com/Stanford-AIMI/chexpert-plus), one row an image:

    df_chexpert_plus_240401.csv                 path_to_image, deid_patient_id, patient_report_date_order, section_*
    train/patient1/study1/view1_frontal.jpg     images as path_to_image names them, or as .png, in PNG/ or here;
                                                else as path_to_dcm names them, in DICOM/ or here

The report is section_findings and section_impression, or where both are blank the whole `report`. Its labels come in
files of their own, which are not read.

CheXpert v1.0, whole or small (Irvin et al. 2019, arXiv:1901.07031;
https://stanfordmlgroup.github.io/competitions/chexpert/), one row an image:

    train.csv, valid.csv                        Path, Sex, Age, Frontal/Lateral, AP/PA, labels
    CheXpert-v1.0/train/patient00001/...        images as Path names them, with or without its first folder

It has no reports: each of its studies is unpaired. Where the table of CheXpert Plus is there, it alone is read. No
scanner and no date is published.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from client.data.chexpert_labels import LABELS, findings_of
from client.data.images import first_there
from client.data.interface import Adapter
from client.data.listed import ListedStudies, ListedStudy
from client.data.report_text import joined
from client.data.rows import DEFAULT_SITE_COLUMN, Row, how_written, read_table
from client.data.splits import Role, roles_by_patient
from client.data.table_file import find_table, require_table
from client.data.view_files import view_reader
from client.data.views import RowsOfStudy, View, studies_in
from common.types import BadRow, StudyRecord, UnusableRow

PLUS, PLAIN = "df_chexpert_plus_240401.csv", ("train.csv", "valid.csv")
PLUS_REQUIRED = ("path_to_image", "deid_patient_id", "patient_report_date_order", "report")
PLUS_OTHERS = (
    *("path_to_dcm", "frontal_lateral", "ap_pa", "section_findings", "section_impression"),
    *("age", "sex", "race"),
)
PLAIN_REQUIRED = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
ROLES = {"train": Role.TRAIN, "valid": Role.TEST}
"""Words of the split; the hidden test side of CheXpert was never published with reports."""

_STUDY = re.compile(r"(?:^|.*/)(?P<patient>patient[0-9]+)/(?P<study>study[0-9]+)/[^/]+")


def chexpert(
    root: Path,
    *,
    allow_burned_in: bool,
    site_column: str = DEFAULT_SITE_COLUMN,
    pixel_bits: int = 0,
) -> Adapter:
    """Adapter over the folder of CheXpert Plus, or of CheXpert, under `root`.

    Args:
        root: The folder that holds the table.
        allow_burned_in: Whether DICOM instances that declare burned-in annotation are read.
        site_column: Column of the table that names the site; the data set is one hospital's.
        pixel_bits: Bits of a grey value in pictures of more than eight; 0 where that is not declared.
    """

    def listed() -> Iterator[ListedStudy | BadRow]:
        if (path := find_table(root, PLUS)) is not None:
            table = read_table(path, required=PLUS_REQUIRED, others=PLUS_OTHERS, site_column=site_column)
            yield from studies_in(
                table,
                view_of=lambda row: _plus_view(root, row),
                record_of=lambda rows: _plus_record(rows, site_column),
            )
            return
        for path in _plain_tables(root):
            table = read_table(path, required=PLAIN_REQUIRED, others=LABELS, site_column=site_column)
            yield from studies_in(
                table,
                view_of=lambda row: _plain_view(root, row),
                record_of=lambda rows: _plain_record(rows, site_column),
            )

    def written() -> str:
        if (path := find_table(root, PLUS)) is not None:
            return how_written(path, required=PLUS_REQUIRED)
        return how_written(_plain_tables(root)[0], required=PLAIN_REQUIRED)

    return ListedStudies(
        root=root,
        listed=listed,
        read=view_reader(allow_burned_in=allow_burned_in, pixel_bits=pixel_bits),
        written_as=written,
        report_remedy=f"{PLUS} of CheXpert Plus would bring it",
        image_remedy=f"{PLUS} would bring it in path_to_image",
    )


def published_split(root: Path) -> dict[str, Role]:
    """The published split of CheXpert Plus by patient: `train` trains, `valid` is held out.

    Raises:
        DataError: The table cannot be read, or puts a patient on two sides.
    """
    table = read_table(require_table(root, PLUS), required=("deid_patient_id", "split"), others=())
    return roles_by_patient(table, patient="deid_patient_id", role_of=lambda row: ROLES.get(row.get("split") or ""))


def _plain_tables(root: Path) -> list[Path]:
    found = [path for name in PLAIN if (path := find_table(root, name)) is not None]
    return found or [require_table(root, PLUS, *PLAIN)]


def _plus_view(root: Path, row: Row) -> View:
    patient, order = row.require("deid_patient_id"), row.require("patient_report_date_order")
    image, instance = row.require("path_to_image"), row.get("path_to_dcm")
    png = f"{image.rpartition('.')[0]}.png"
    candidates = [image, png, f"PNG/{png}", *([instance, f"DICOM/{instance}"] if instance else [])]
    return View(
        f"{patient}/{order}", patient, first_there(root, candidates), _position(row, "frontal_lateral", "ap_pa")
    )


def _plus_record(rows: RowsOfStudy, site_column: str) -> StudyRecord:
    row, who = rows.row, rows.row.demographics
    sections = [row.get("section_findings") or "", row.get("section_impression") or ""]
    return StudyRecord(
        study_id=rows.study_id,
        patient_id=rows.patient_id,
        report=joined(sections) or joined([row.get("report") or ""]),
        sex=who.sex,
        age=who.age,
        race=row.get("race"),
        language="English",
        site=row.get(site_column),
        unread=who.unread,
    )


def _plain_view(root: Path, row: Row) -> View:
    path = row.require("Path")
    found = _STUDY.fullmatch(path)
    if found is None:
        raise UnusableRow("Path names no patient and study; correct it")
    candidates = [path, path.partition("/")[2]]
    position = _position(row, "Frontal/Lateral", "AP/PA")
    return View(f"{found['patient']}/{found['study']}", found["patient"], first_there(root, candidates), position)


def _plain_record(rows: RowsOfStudy, site_column: str) -> StudyRecord:
    row, who = rows.row, rows.row.demographics
    return StudyRecord(
        study_id=rows.study_id,
        patient_id=rows.patient_id,
        report="",
        sex=who.sex,
        age=who.age,
        site=row.get(site_column),
        findings=findings_of(row),
        unread=who.unread,
    )


def _position(row: Row, side: str, direction: str) -> str:
    return "LATERAL" if row.get(side) == "Lateral" else row.get(direction) or ""
