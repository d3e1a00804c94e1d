"""Adapter `manifest`: a folder with `manifest.csv` and the picture files that it names.

Columns: study_id, patient_id, image_path (relative to the folder), report; optional sex, age, race, scanner,
site, findings (";" between), split_group. One row a study.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.data.images import decode_picture, locate
from client.data.interface import Adapter
from client.data.rows import DEFAULT_SITE_COLUMN, Row, UnusableRow, how_written, read_table
from common.types import BadRow, Study, StudyRecord

REQUIRED = ("study_id", "patient_id", "image_path", "report")


@dataclass(frozen=True)
class PictureTableAdapter:
    """A table that names one picture file a row; the layouts differ in how a row becomes a record.

    Attributes:
        table: The CSV file; image paths are relative to its folder.
        required: Columns that must be there, `image_path` among them.
        record_of: Row to record; raises `UnusableRow` for a row that cannot become one.
        site_column: Column that names the site.
        pixel_bits: Bits of a grey value in pictures of more than eight; 0 where that is not declared.
    """

    table: Path
    required: Sequence[str]
    record_of: Callable[[Row], StudyRecord]
    site_column: str
    pixel_bits: int

    def written(self) -> str:
        """See `Adapter`."""
        return how_written(self.table, required=self.required)

    def records(self) -> Iterator[StudyRecord | BadRow]:
        """See `Adapter`."""
        return (found if isinstance(found, BadRow) else found[0] for _, found in self._located())

    def studies(self) -> Iterator[Study | BadRow]:
        """Studies and bad rows in the order of the table.

        Raises:
            DataError: The table cannot be read at all.
        """
        for line, found in self._located():
            yield found if isinstance(found, BadRow) else self._study(line, *found)

    def _located(self) -> Iterator[tuple[int, tuple[StudyRecord, Path] | BadRow]]:
        """Each row's line, and its record and picture file."""
        table = read_table(self.table, required=self.required, site_column=self.site_column)
        first_lines: dict[str, int] = {}
        for row in table.rows:
            if isinstance(row, BadRow):
                yield row.row, row
                continue
            try:
                record = self.record_of(row)
                _check_first(record.study_id, row.line, first_lines)
                yield row.line, (record, locate(self.table.parent, row.require("image_path")))
            except UnusableRow as error:
                yield row.line, BadRow(self.table.name, row.line, str(error))

    def _study(self, line: int, record: StudyRecord, picture: Path) -> Study | BadRow:
        try:
            return Study(record, decode_picture(picture, bits=self.pixel_bits))
        except UnusableRow as error:
            return BadRow(self.table.name, line, str(error))


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
        return StudyRecord(
            study_id=row.require("study_id"),
            patient_id=row.require("patient_id"),
            report=row.require("report"),
            sex=row.sex,
            age=row.age,
            race=row.get("race"),
            scanner=row.get("scanner"),
            site=row.get(site_column),
            findings=row.findings,
            split_group=row.get("split_group") or "",
            unread=row.unread,
        )

    return PictureTableAdapter(root / "manifest.csv", REQUIRED, record_of, site_column, pixel_bits)
