"""Tables of studies as hospitals write them: text with a header, read whole before the first study.

A table is small beside its images, so it is held in memory: a broken encoding or a broken quote is then known
before any study is handed out. What is wrong with one row only raises `UnusableRow`, which its adapter lists
as a `BadRow`. Neither error quotes a value of the table: the reasons hold no patient data.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from client.data.demographics import UnreadValue, age_of, sex_of
from client.data.table_text import TableText, UnknownEncoding, names_in_header, table_text
from common.config.registry import near
from common.errors import DataError
from common.types import BadRow

T = TypeVar("T")

DEFAULT_SITE_COLUMN = "site"
MOST_FIELD_CHARACTERS = 1 << 24
"""Longest field of a table; Python's own limit of 131,072 is below some reports."""


class UnusableRow(DataError):
    """One row, file or instance cannot become a study; the message is the reason of its `BadRow`."""


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
        if not self.values[column]:
            raise UnusableRow(f"{column} is empty; fill it in")
        return self.values[column]

    @property
    def sex(self) -> str | None:
        """Column `sex`: "F", "M", "O", or None where it is not known or not understood."""
        return self._read("sex", sex_of)

    @property
    def age(self) -> int | None:
        """Column `age`: completed years, or None where it is not known or not understood."""
        return self._read("age", age_of)

    @property
    def unread(self) -> tuple[str, ...]:
        """Columns of optional fields that hold something that was not understood."""
        return tuple(name for name, reader in (("sex", sex_of), ("age", age_of)) if not self._is_read(name, reader))

    def _read(self, column: str, reader: Callable[[str], T]) -> T | None:
        try:
            return reader(self.values.get(column, ""))
        except UnreadValue:
            return None

    def _is_read(self, column: str, reader: Callable[[str], object]) -> bool:
        try:
            reader(self.values.get(column, ""))
        except UnreadValue:
            return False
        return True

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
        if column not in self.columns:
            raise DataError(f"{self.path}: column {column} is missing; {near(column, list(self.columns))}")


def read_table(path: Path, *, required: Sequence[str], site_column: str = DEFAULT_SITE_COLUMN) -> Table:
    """Read a table (RFC 4180, or with semicolons or tabs; encodings as of `table_text`; blank lines are passed over).

    Names of columns are compared without regard to case; blank fields beyond the header's last name are no fields.

    Args:
        path: The file.
        required: Columns without which the table is of no use.
        site_column: Column that names the site; it must be there unless it is the default one.

    Raises:
        DataError: The file is missing, no text, empty or wrongly quoted, or a column is missing or named twice.
    """
    site_column = site_column.casefold()
    found = _text(path, required)
    lines = _parse(path, found)
    _, header = next(lines, (0, []))
    columns = tuple(_without_blank_end(names_in_header(header)))
    if not columns:
        raise DataError(f"{path}: empty; its first line must name the columns {', '.join(required)}")
    if len(set(columns)) < len(columns):
        raise DataError(f"{path}: line {found.first_line} names a column twice; give each column a name of its own")
    rows = tuple(_row(path.name, columns, line, fields) for line, fields in lines)
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
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); set data.root to the folder that holds {path.name}"
        ) from error
    try:
        return table_text(content, columns=required)
    except UnknownEncoding as error:
        raise DataError(
            f"{path}: line {error.line} is neither UTF-8 nor another known encoding; save the table again as UTF-8"
        ) from error


def _parse(path: Path, found: TableText) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank with the line on which it starts; a quoted field may span lines."""
    csv.field_size_limit(max(MOST_FIELD_CHARACTERS, csv.field_size_limit()))  # the process's, so it is only raised
    reader = csv.reader(io.StringIO(found.text, newline=""), delimiter=found.separator, strict=True)
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


def _row(name: str, columns: tuple[str, ...], line: int, fields: list[str]) -> Row | BadRow:
    if len(fields) > len(columns):
        fields = [*fields[: len(columns)], *_without_blank_end(fields[len(columns) :])]
    if len(fields) != len(columns):
        return BadRow(name, line, f"the row has {len(fields)} fields and the header {len(columns)}")
    return Row(line, {column: field.strip() for column, field in zip(columns, fields, strict=True)})
