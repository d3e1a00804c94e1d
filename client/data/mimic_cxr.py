"""Adapter `mimic_cxr`: MIMIC-CXR 2.1.0 and MIMIC-CXR-JPG 2.1.0 (Johnson et al. 2019, arXiv:1901.07042).

Read as PhysioNet publishes them (https://physionet.org/content/mimic-cxr/2.1.0/ and
https://physionet.org/content/mimic-cxr-jpg/2.1.0/), each table plain or as `.csv.gz`:

    cxr-record-list.csv                         of the DICOM form: subject_id, study_id, dicom_id
    mimic-cxr-2.0.0-metadata.csv                of the JPG form, welcome beside the other: ViewPosition, StudyDate
    files/p10/p10000032/s50414267/ID.dcm        images: `.dcm` where cxr-record-list is there, else `.jpg`
    files/p10/p10000032/s50414267.txt           reports, of mimic-cxr-reports.zip; here or in mimic-cxr-reports/
    mimic-cxr-2.0.0-chexpert.csv                optional: findings
    mimic-cxr-2.0.0-split.csv                   optional: the split for data.split=published
    patients.csv                                optional: of MIMIC-IV (hosp), sex and age

The report is its findings and impression. A study without report file is unpaired, and so is a report whose study the
table does not list. Age is that in the year of the study, which MIMIC shifts as it does `anchor_year`; it is not
known without StudyDate. The date itself is left out: shifted for each patient, it says nothing of when. Neither race
nor scanner is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from client.data.chexpert_labels import LABELS, findings_of
from client.data.demographics import Demographics, demographics_of
from client.data.interface import Adapter
from client.data.listed import ListedStudies, ListedStudy
from client.data.report_text import describing_sections, read_report
from client.data.rows import DEFAULT_SITE_COLUMN, Row, Table, how_written, read_table
from client.data.splits import Role, roles_by_patient
from client.data.table_file import find_table, require_table
from client.data.view_files import view_reader
from client.data.views import RowsOfStudy, View, studies_in
from common.types import BadRow, StudyRecord, UnusableRow

RECORDS, METADATA = "cxr-record-list.csv", "mimic-cxr-2.0.0-metadata.csv"
FINDINGS, SPLIT, PATIENTS = "mimic-cxr-2.0.0-chexpert.csv", "mimic-cxr-2.0.0-split.csv", "patients.csv"
REPORT_FOLDERS = ("", "mimic-cxr-reports/")

REQUIRED = ("subject_id", "study_id", "dicom_id")
ROLES = {"train": Role.TRAIN, "test": Role.TEST}
"""Words of the split; studies of `validate` take no part."""

_NUMBER = re.compile(r"[0-9]{2,20}")
_YEARS = re.compile(r"[0-9]{1,4}")
_REPORT_FILE = re.compile(r".*/p(?P<patient>[0-9]{2,20})/s(?P<study>[0-9]{2,20})\.txt")


@dataclass(frozen=True)
class _Tables:
    """What the optional tables say of studies and patients."""

    root: Path
    site_column: str
    findings: Mapping[str, tuple[str, ...]]
    patients: Mapping[str, Row]

    def record_of(self, rows: RowsOfStudy) -> StudyRecord:
        """The record of a study of the table of images."""
        who = self._demographics(rows.patient_id, study_date=rows.row.get("StudyDate") or "")
        return StudyRecord(
            study_id=rows.study_id,
            patient_id=rows.patient_id,
            report=self._report(rows.patient_id, rows.study_id),
            sex=who.sex,
            age=who.age,
            language="English",
            site=rows.row.get(self.site_column),
            findings=self.findings.get(rows.study_id, ()),
            unread=who.unread,
        )

    def _report(self, patient: str, study: str) -> str:
        for folder in REPORT_FOLDERS:
            text = read_report(self.root, f"{folder}{_folder_of(patient)}/s{study}.txt")
            if text is not None:
                return describing_sections(text)
        return ""

    def _demographics(self, patient: str, *, study_date: str) -> Demographics:
        row = self.patients.get(patient)
        if row is None:
            return demographics_of(sex=None, age=None)
        texts = (row.get("anchor_age") or "", study_date[:4], row.get("anchor_year") or "")
        age = None
        if all(map(_YEARS.fullmatch, texts)):
            anchor_age, study_year, anchor_year = map(int, texts)
            age = str(anchor_age + study_year - anchor_year)
        return demographics_of(sex=row.get("gender"), age=age)


def mimic_cxr(
    root: Path,
    *,
    allow_burned_in: bool,
    site_column: str = DEFAULT_SITE_COLUMN,
    pixel_bits: int = 0,
) -> Adapter:
    """Adapter over the folder of MIMIC-CXR, or of MIMIC-CXR-JPG, under `root`.

    Args:
        root: The folder that holds `files/` and the tables.
        allow_burned_in: Whether DICOM instances that declare burned-in annotation are read.
        site_column: Column of the table of images that names the site; the data set is one hospital's.
        pixel_bits: Without effect: JPG files have eight, and an instance says its own range.
    """

    def index() -> Path:
        return require_table(root, METADATA, RECORDS)

    def listed() -> Iterator[ListedStudy | BadRow]:
        table = read_table(index(), required=REQUIRED, others=("ViewPosition", "StudyDate"), site_column=site_column)
        suffix = "jpg" if find_table(root, RECORDS) is None else "dcm"
        tables = _Tables(root, site_column, _findings(root), _patients(root))
        yield from studies_in(table, view_of=lambda row: _view(row, suffix), record_of=tables.record_of)
        yield from _without_images(tables, table)

    return ListedStudies(
        root=root,
        listed=listed,
        read=view_reader(allow_burned_in=allow_burned_in, pixel_bits=pixel_bits),
        written_as=lambda: how_written(index(), required=REQUIRED),
        report_remedy="mimic-cxr-reports.zip of MIMIC-CXR 2.1.0, unpacked beside the tables, would bring it",
        image_remedy=f"{METADATA} lists no image of it; fetch the images of its study",
    )


def published_split(root: Path) -> dict[str, Role]:
    """The published split by patient.

    Raises:
        DataError: Its table cannot be read, or puts a patient on two sides.
    """
    table = read_table(require_table(root, SPLIT), required=("subject_id", "split"), others=())
    return roles_by_patient(table, patient="subject_id", role_of=lambda row: ROLES.get(row.get("split") or ""))


def _view(row: Row, suffix: str) -> View:
    patient, study = _number(row, "subject_id"), _number(row, "study_id")
    path = f"{_folder_of(patient)}/s{study}/{row.require('dicom_id')}.{suffix}"
    return View(study, patient, path, row.get("ViewPosition") or "")


def _folder_of(patient: str) -> str:
    return f"files/p{patient[:2]}/p{patient}"


def _number(row: Row, column: str) -> str:
    value = row.require(column)
    if not _NUMBER.fullmatch(value):
        raise UnusableRow(f"{column} is not a number of MIMIC; correct it")
    return value


def _findings(root: Path) -> dict[str, tuple[str, ...]]:
    if (path := find_table(root, FINDINGS)) is None:
        return {}
    rows = read_table(path, required=("study_id",), others=LABELS).rows
    return {row.get("study_id") or "": findings_of(row) for row in rows if isinstance(row, Row)}


def _patients(root: Path) -> dict[str, Row]:
    if (path := find_table(root, PATIENTS)) is None:
        return {}
    rows = read_table(path, required=("subject_id",), others=("gender", "anchor_age", "anchor_year")).rows
    return {row.get("subject_id") or "": row for row in rows if isinstance(row, Row)}


def _without_images(tables: _Tables, table: Table) -> Iterator[ListedStudy | BadRow]:
    """Reports whose study the table of images does not list, by path."""
    listed = {row.get("study_id") for row in table.rows if isinstance(row, Row)}
    for folder in REPORT_FOLDERS:
        paths = sorted((tables.root / folder / "files").glob("p*/p*/s*.txt"))
        for name in (path.relative_to(tables.root).as_posix() for path in paths):
            found = _REPORT_FILE.fullmatch(name)
            if found is None:
                yield BadRow(name, 0, "not named pPATIENT/sSTUDY.txt as a report of MIMIC is; move it out")
            elif found["study"] not in listed:
                listed.add(found["study"])
                try:
                    record = tables.record_of(RowsOfStudy(found["study"], found["patient"], Row(0, {})))
                    yield ListedStudy(record, name, 0, ())
                except UnusableRow as error:
                    yield BadRow(name, 0, str(error))
