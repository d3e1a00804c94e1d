"""Adapter `manifest`: a folder with `manifest.csv` and the picture files that it names.

Columns: study_id, patient_id, image_path (relative to the folder), report; optional sex, age, race, scanner,
language, site, findings (";" between), split_group, date, modality. One row a study; one whose report or image_path is
blank is unpaired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from client.data.interface import Adapter
from client.data.listed import ListedStudies, ListedStudy, ListedView
from client.data.rows import DEFAULT_SITE_COLUMN, Row, how_written, read_table
from client.data.view_files import picture_reader
from common.types import BadRow, StudyRecord, UnusableRow

REQUIRED = ("study_id", "patient_id", "image_path", "report")
OPTIONAL = ("sex", "age", "race", "scanner", "language", "site", "findings", "split_group", "date", "modality")


def picture_table(
    table: Path,
    *,
    required: Sequence[str],
    record_of: Callable[[Row], StudyRecord],
    report_column: str,
    site_column: str,
    pixel_bits: int,
) -> Adapter:
    """Adapter over a table that names one picture file a row; the layouts differ in how a row becomes a record.

    Args:
        table: The CSV file; image paths are relative to its folder.
        required: Columns that must be there, `image_path` among them.
        record_of: Row to record; raises `UnusableRow` for a row that cannot become one.
        report_column: Column of the report.
        site_column: Column that names the site.
        pixel_bits: Bits of a grey value in pictures of more than eight; 0 where that is not declared.
    """

    def listed() -> Iterator[ListedStudy | BadRow]:
        first_lines: dict[str, int] = {}
        for row in read_table(table, required=required, site_column=site_column).rows:
            if isinstance(row, BadRow):
                yield row
                continue
            try:
                record = record_of(row)
                _check_first(record.study_id, row.line, first_lines)
                image = row.get("image_path")
                views = () if image is None else (ListedView(row.line, image),)
                yield ListedStudy(record, table.name, row.line, views)
            except UnusableRow as error:
                yield BadRow(table.name, row.line, str(error))

    return ListedStudies(
        root=table.parent,
        listed=listed,
        read=picture_reader(pixel_bits=pixel_bits),
        written_as=lambda: how_written(table, required=required),
        report_remedy=f"{table.name} would bring it in column {report_column}",
        image_remedy=f"{table.name} would bring it in column image_path",
    )


def _check_first(study_id: str, line: int, first_lines: dict[str, int]) -> None:
    first_line = first_lines.setdefault(study_id, line)
    if first_line != line:
        raise UnusableRow(f"study_id repeats that of line {first_line}; give each study its own")


def manifest(
    root: Path,
    *,
    allow_burned_in: bool,  # noqa: ARG001 - a picture file has no tag that says so
    site_column: str = DEFAULT_SITE_COLUMN,
    pixel_bits: int = 0,
) -> Adapter:
    """Adapter over `root/manifest.csv`.

    Args:
        root: The data folder.
        allow_burned_in: Without effect: a picture file does not say whether text is burned into it. Who
            writes the manifest answers for that.
        site_column: Column that names the site; it may be absent only where it is the default one.
        pixel_bits: Bits of a grey value in pictures of more than eight; 0 where that is not declared.
    """

    def record_of(row: Row) -> StudyRecord:
        who, made = row.demographics, row.acquisition
        return StudyRecord(
            study_id=row.require("study_id"),
            patient_id=row.require("patient_id"),
            report=row.get("report") or "",
            sex=who.sex,
            age=who.age,
            race=row.get("race"),
            scanner=row.get("scanner"),
            language=row.get("language"),
            site=row.get(site_column),
            findings=row.findings,
            split_group=row.get("split_group") or "",
            unread=(*who.unread, *made.unread),
            date=made.date,
            modality=made.modality,
        )

    return picture_table(
        root / "manifest.csv",
        required=REQUIRED,
        record_of=record_of,
        report_column="report",
        site_column=site_column,
        pixel_bits=pixel_bits,
    )
