"""Tables of studies as hospitals write them: text with a header, read whole before the first study.

A table is small beside its images, so it is held in memory: a broken encoding or a broken quote is then known
before any study is handed out. What is wrong with one row only raises `UnusableRow`, which its adapter lists
as a `BadRow`. Neither error quotes a value of the table: the reasons hold no patient data.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.data.acquisition import Acquisition, acquisition_of
from client.data.demographics import Demographics, demographics_of
from client.data.table_file import table_bytes
from client.data.table_text import TableText, UnknownEncoding, names_in_header, table_text
from common.config.registry import near
from common.errors import DataError
from common.types import BadRow, UnusableRow

DEFAULT_SITE_COLUMN = "site"
MOST_FIELD_CHARACTERS = 1 << 24
"""Longest field of a table; Python's own limit of 131,072 is below some reports."""

_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")
"""One line with its end, whichever of the three it is."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table, its values stripped of surrounding white space.

    Attributes:
        line: 1-based line of the file on which the row starts (the header is line 1).
        values: Column to value.
    """

    line: int
    values: Mapping[str, str]

    def get(self, column: str) -> str | None:
        """The value, or None where the column is absent or the field blank."""
        return self.values.get(column.casefold()) or None

    def require(self, column: str) -> str:
        """The value.

        Raises:
            UnusableRow: The field is blank.
        """
        if (value := self.get(column)) is None:
            raise UnusableRow(f"{column} is empty; fill it in")
        return value

    @property
    def demographics(self) -> Demographics:
        """Columns `sex` and `age`."""
        return demographics_of(sex=self.get("sex"), age=self.get("age"))

    @property
    def acquisition(self) -> Acquisition:
        """Columns `date` and `modality`."""
        return acquisition_of(date=self.get("date"), modality=self.get("modality"))

    @property
    def findings(self) -> tuple[str, ...]:
        """Column `findings`, cut at ";", each name once."""
        return names_in(self.values.get("findings", ""))


@dataclass(frozen=True, slots=True)
class Table:
    """A whole table: its rows in file order, and among them those whose fields do not fit the header.

    Attributes:
        path: The file.
        columns: Names, in lower case.
        rows: Its rows.
        written: How it is written, for people.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row | BadRow, ...]
    written: str

    def check_column(self, column: str) -> None:
        """Check that a column is there.

        Raises:
            DataError: It is not; the near names are given.
        """
        if column.casefold() not in self.columns:
            raise DataError(f"{self.path}: column {column} is missing; {near(column, list(self.columns))}")


def read_table(
    path: Path,
    *,
    required: Sequence[str],
    others: Sequence[str] | None = None,
    site_column: str = DEFAULT_SITE_COLUMN,
) -> Table:
    """Read a table (RFC 4180, or with semicolons or tabs; encodings as of `table_text`; blank lines are passed over).

    Names of columns are compared without regard to case; blank fields beyond the header's last name are no fields.

    Args:
        path: The file; `.gz` is decompressed.
        required: Columns without which the table is of no use.
        others: Columns whose values are kept beside those and the site's; None keeps all. A table of a whole archive
            has many that nobody asks for.
        site_column: Column that names the site; it must be there unless it is the default one.

    Raises:
        DataError: The file is missing, no text, empty or wrongly quoted, or a column is missing or named twice.
    """
    found = _text(path, required)
    lines = _parse(path, found)
    _, header = next(lines, (0, []))
    columns = tuple(_without_blank_end(names_in_header(header)))
    if not columns:
        raise DataError(f"{path}: empty; its first line must name the columns {', '.join(required)}")
    if len(set(columns)) < len(columns):
        raise DataError(f"{path}: line {found.first_line} names a column twice; give each column a name of its own")
    wanted = {name.casefold() for name in (*required, site_column, *(columns if others is None else others))}
    kept = [(place, column) for place, column in enumerate(columns) if column in wanted]
    rows = tuple(_row(path.name, columns, kept, line, fields) for line, fields in lines)
    table = Table(path, columns, rows, found.in_words)
    for column in required if site_column == DEFAULT_SITE_COLUMN else (*required, site_column):
        table.check_column(column)
    return table


def how_written(path: Path, *, required: Sequence[str]) -> str:
    """How a table is written, for people: what stands between its fields, and its encoding.

    Raises:
        DataError: The file is missing, or no text.
    """
    return _text(path, required).in_words


def names_in(text: str) -> tuple[str, ...]:
    """Names between semicolons, stripped, in order, each once."""
    return tuple(dict.fromkeys(name for part in text.split(";") if (name := part.strip())))


def _text(path: Path, required: Sequence[str]) -> TableText:
    try:
        return table_text(table_bytes(path), columns=required)
    except UnknownEncoding as error:
        raise DataError(
            f"{path}: line {error.line} is neither UTF-8 nor another known encoding; save the table again as UTF-8"
        ) from error


def _parse(path: Path, found: TableText) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank with the line on which it starts; a quoted field may span lines."""
    csv.field_size_limit(max(MOST_FIELD_CHARACTERS, csv.field_size_limit()))  # the process's, so it is only raised
    # Line by line: a copy of a whole archive's reports in a buffer would take four bytes a character.
    reader = csv.reader((line[0] for line in _LINE.finditer(found.text)), delimiter=found.separator, strict=True)
    while True:
        line = reader.line_num + found.first_line
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # Where rows end is unknown from here on, so no row of this file can be trusted.
            raise DataError(
                f"{path}: the row that starts on line {line} is wrongly quoted, or a field of it is longer than "
                f"{MOST_FIELD_CHARACTERS:,} characters; correct it"
            ) from error
        if any(field.strip() for field in fields):  # spreadsheets end with lines of nothing but separators
            yield line, fields


def _without_blank_end(fields: list[str]) -> list[str]:
    """The fields without the blank ones at their end."""
    length = max((number for number, field in enumerate(fields, start=1) if field.strip()), default=0)
    return fields[:length]


def _row(
    name: str, columns: tuple[str, ...], kept: Sequence[tuple[int, str]], line: int, fields: list[str]
) -> Row | BadRow:
    if len(fields) > len(columns):
        fields = [*fields[: len(columns)], *_without_blank_end(fields[len(columns) :])]
    if len(fields) != len(columns):
        return BadRow(name, line, f"the row has {len(fields)} fields and the header {len(columns)}")
    return Row(line, {column: fields[place].strip() for place, column in kept})
