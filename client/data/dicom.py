"""Adapter `dicom`: a folder tree of DICOM files and a `reports.csv` beside them.

Each image instance is one study; its report is found by AccessionNumber. Columns of `reports.csv`:
accession_number, report; optional sex, age, race, language, site, findings (";" between), split_group, date, modality.
A value there goes before the one in the DICOM header, so that a wrong header can be corrected without touching the
image.

Every file of the tree is read, in the order of its path; links to folders are not followed. An image whose report is
blank or has no row is unpaired. A report names its image, so one that no image asked for is a bad row; these are listed
last, in the order of their lines.
What `wardround site import` keeps to itself in the tree is passed over.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydicom import Dataset

from client.data.acquisition import date_of, modality_of
from client.data.demographics import UnreadValue, age_of, sex_of
from client.data.dicom_image import check_burned_in, grey_image, header_text, read_instance
from client.data.images import locate
from client.data.interface import Adapter
from client.data.rows import DEFAULT_SITE_COLUMN, Row, how_written, read_table
from common.types import BadRow, Image, Lacks, Study, StudyRecord, Unpaired, UnusableRow

T = TypeVar("T")
V = TypeVar("V", int, str, datetime.date)

REPORTS = "reports.csv"
ROOM_OF_IMPORT = ".import"
"""Folder in the root where an import keeps its journal, and studies without a report."""

REQUIRED = ("accession_number", "report")
REPORT_REMEDY = f"{REPORTS} would bring it in a row with the image's AccessionNumber"


@dataclass(frozen=True)
class _Found(Generic[V]):
    """An optional value.

    Attributes:
        value: It, or None.
        is_odd: Whether the header holds one that was not understood.
    """

    value: V | None
    is_odd: bool


@dataclass(frozen=True)
class DicomAdapter:
    """A tree of DICOM files joined with their reports.

    Attributes:
        root: Folder of the tree and of `reports.csv`.
        allow_burned_in: Whether instances with BurnedInAnnotation "YES" are read. An instance without the tag
            is read either way, for most equipment never writes it: look at the images before they are used.
        site_column: Column of `reports.csv` that names the site.
    """

    root: Path
    allow_burned_in: bool
    site_column: str

    def written(self) -> str:
        """See `Adapter`."""
        return how_written(self.root / REPORTS, required=REQUIRED)

    def records(self) -> Iterator[StudyRecord | Unpaired | BadRow]:
        """See `Adapter`; headers alone are read."""
        return self._items(
            with_pixels=False,
            made_of=lambda record, dataset: record if record.report else _unpaired(record),  # noqa: ARG005 - no image
        )

    def studies(self) -> Iterator[Study | Unpaired | BadRow]:
        """Studies, images without report and bad files by path, then reports without image by line.

        Raises:
            DataError: `reports.csv` cannot be read at all.
        """
        return self._items(with_pixels=True, made_of=_study)

    def named(self, study_ids: Set[str]) -> Iterator[Study | Unpaired | BadRow]:
        """See `Adapter`; every header is read, for it names the study."""
        for record, header in self.headers(study_ids):
            path = Path(str(header.filename))
            try:
                yield _study(record, read_instance(path))
            except UnusableRow as error:
                yield BadRow(path.relative_to(self.root.resolve()).as_posix(), 0, str(error))

    def headers(self, study_ids: Set[str]) -> Iterator[tuple[StudyRecord, Dataset]]:
        """The headers of the studies of these identifiers, without pixels, and their records.

        Raises:
            DataError: `reports.csv` cannot be read at all.
        """
        for item in self._items(with_pixels=False, made_of=lambda record, dataset: (record, dataset)):
            if isinstance(item, tuple) and item[0].study_id in study_ids:
                yield item

    def _items(self, *, with_pixels: bool, made_of: Callable[[StudyRecord, Dataset], T]) -> Iterator[T | BadRow]:
        table = read_table(self.root / REPORTS, required=REQUIRED, site_column=self.site_column)
        reports: dict[str, Row] = {}
        for row in table.rows:
            if isinstance(row, Row):
                reports.setdefault(row.values["accession_number"], row)
        asked: set[str] = set()
        seen: set[str] = set()
        for name in self._files():
            try:
                dataset = read_instance(locate(self.root, name), with_pixels=with_pixels)
                record = self._admitted(dataset, reports=reports, asked=asked, seen=seen)
                yield made_of(record, dataset)
            except UnusableRow as error:
                yield BadRow(name, 0, str(error))
        for row in table.rows:
            if (bad := row if isinstance(row, BadRow) else _unused(row, reports, asked)) is not None:
                yield bad

    def _files(self) -> list[str]:
        paths = [path.relative_to(self.root) for path in self.root.rglob("*") if not path.is_dir()]
        return sorted(path.as_posix() for path in paths if path.parts[0] not in {REPORTS, ROOM_OF_IMPORT})

    def _admitted(self, dataset: Dataset, *, reports: dict[str, Row], asked: set[str], seen: set[str]) -> StudyRecord:
        """The record of an instance that may become a study."""
        accession = _require(dataset, "AccessionNumber")
        asked.add(accession)
        record = self._record(dataset, reports.get(accession) or Row(0, {}))
        if record.study_id in seen:
            raise UnusableRow("SOPInstanceUID repeats that of an earlier file; keep one copy")
        seen.add(record.study_id)
        check_burned_in(dataset, allow_burned_in=self.allow_burned_in)
        return record

    def _record(self, dataset: Dataset, row: Row) -> StudyRecord:
        who = row.demographics
        made = row.acquisition
        sex, age = _first(who.sex, dataset, "PatientSex", sex_of), _first(who.age, dataset, "PatientAge", age_of)
        day = _first(made.date, dataset, "StudyDate", date_of)
        modality = _first(made.modality, dataset, "Modality", modality_of)
        unread = {*who.unread, *made.unread}
        found: dict[str, _Found[Any]] = {"sex": sex, "age": age, "date": day, "modality": modality}
        scanner = f"{header_text(dataset, 'Manufacturer')} {header_text(dataset, 'ManufacturerModelName')}".strip()
        return StudyRecord(
            study_id=_require(dataset, "SOPInstanceUID"),
            patient_id=_require(dataset, "PatientID"),
            report=row.get("report") or "",
            sex=sex.value,
            age=age.value,
            race=row.get("race"),
            scanner=scanner or None,
            language=row.get("language"),
            site=row.get(self.site_column),
            findings=row.findings,
            split_group=row.get("split_group") or "",
            unread=tuple(
                sorted(name for name, one in found.items() if one.value is None and (one.is_odd or name in unread))
            ),
            date=day.value,
            modality=modality.value,
        )


def dicom(
    root: Path,
    *,
    allow_burned_in: bool,
    site_column: str = DEFAULT_SITE_COLUMN,
    pixel_bits: int = 0,  # noqa: ARG001 - an instance says its own range
) -> Adapter:
    """Adapter over the DICOM files under `root`; see `DicomAdapter`."""
    return DicomAdapter(root, allow_burned_in, site_column)


def _unpaired(record: StudyRecord, *images: Image) -> Unpaired:
    return Unpaired(record, Lacks.REPORT, REPORT_REMEDY, images)


def _study(record: StudyRecord, dataset: Dataset) -> Study | Unpaired:
    image = grey_image(dataset)
    return Study(record, image) if record.report else _unpaired(record, image)


def _unused(row: Row, reports: dict[str, Row], asked: set[str]) -> BadRow | None:
    """What is wrong with a row that gave no image its report, or None."""
    accession = row.values["accession_number"]
    if not accession:
        return BadRow(REPORTS, row.line, "accession_number is empty; fill it in")
    if reports[accession] is not row:
        first_line = reports[accession].line
        return BadRow(REPORTS, row.line, f"accession_number repeats that of line {first_line}; merge the two reports")
    if accession not in asked:
        return BadRow(REPORTS, row.line, "no readable DICOM file has this accession_number; add the image")
    return None


def _require(dataset: Dataset, keyword: str) -> str:
    value = header_text(dataset, keyword)
    if not value:
        raise UnusableRow(f"{keyword} is missing from the DICOM header; export the instance again")
    return value


def _first(told: V | None, dataset: Dataset, keyword: str, reader: Callable[[str], V | None]) -> _Found[V]:
    """What the table tells, else what the header does."""
    if told is not None:
        return _Found(told, is_odd=False)
    try:
        return _Found(reader(header_text(dataset, keyword)), is_odd=False)
    except (UnreadValue, UnusableRow):
        return _Found(None, is_odd=True)
