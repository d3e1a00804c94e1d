"""Tables of studies as hospitals write them: UTF-8 CSV with a header, read whole before the first study.

A table is small beside its images, so it is held in memory: a broken encoding or a broken quote is then known
before any study is handed out. What is wrong with one row only raises `UnusableRow`, which its adapter lists
as a `BadRow`. Neither error quotes a value of the table: the reasons hold no patient data.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.config.registry import near
from common.errors import DataError
from common.types import BadRow

OLDEST_YEARS = 120
DEFAULT_SITE_COLUMN = "site"


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
        return self.values.get(column) or None

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
        """Column `sex`: "F", "M", or None where blank.

        Raises:
            UnusableRow: Any other value.
        """
        sex = self.values.get("sex", "").upper()
        if sex not in {"F", "M", ""}:
            raise UnusableRow("sex is neither F nor M; leave it blank where it is not known")
        return sex or None

    @property
    def age(self) -> int | None:
        """Column `age`: completed years, or None where blank.

        Raises:
            UnusableRow: Not a number, or outside 0 to 120.
        """
        text = self.values.get("age", "")
        return age_in_range(text) if text else None

    @property
    def findings(self) -> tuple[str, ...]:
        """Column `findings`, cut at ";", each name once."""
        return names_in(self.values.get("findings", ""))


@dataclass(frozen=True, slots=True)
class Table:
    """A whole table: its rows in file order, and among them those whose fields do not fit the header."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row | BadRow, ...]

    def check_column(self, column: str) -> None:
        """Check that a column is there.

        Raises:
            DataError: It is not; the near names are given.
        """
        if column not in self.columns:
            raise DataError(f"{self.path}: column {column} is missing; {near(column, list(self.columns))}")


def read_table(path: Path, *, required: Sequence[str], site_column: str = DEFAULT_SITE_COLUMN) -> Table:
    """Read a table (RFC 4180; UTF-8, a byte order mark is tolerated; blank lines are passed over).

    Args:
        path: The file.
        required: Columns without which the table is of no use.
        site_column: Column that names the site; it must be there unless it is the default one.

    Raises:
        DataError: The file is missing, not UTF-8, empty or wrongly quoted, or a column is missing or named
            twice.
    """
    lines = _parse(path, _text(path))
    _, header = next(lines, (0, []))
    columns = tuple(name.strip() for name in header)
    if not columns:
        raise DataError(f"{path}: empty; its first line must name the columns {', '.join(required)}")
    if len(set(columns)) < len(columns):
        raise DataError(f"{path}: line 1 names a column twice; give each column a name of its own")
    table = Table(path, columns, tuple(_row(path.name, columns, line, fields) for line, fields in lines))
    for column in required if site_column == DEFAULT_SITE_COLUMN else (*required, site_column):
        table.check_column(column)
    return table


def age_in_range(text: str) -> int:
    """An age in completed years.

    Raises:
        UnusableRow: Not a number, or outside 0 to 120.
    """
    try:
        years = float(text)
    except ValueError:
        years = math.nan
    if not 0 <= years <= OLDEST_YEARS:  # also false for NaN
        raise UnusableRow(f"age is not a number of years from 0 to {OLDEST_YEARS}; correct it or leave it blank")
    return int(years)


def names_in(text: str) -> tuple[str, ...]:
    """Names between semicolons, stripped, in order, each once."""
    return tuple(dict.fromkeys(name for part in text.split(";") if (name := part.strip())))


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); set data.root to the folder that holds {path.name}"
        ) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: line {line} is not UTF-8; save the table again as UTF-8") from error


def _parse(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank with the line on which it starts; a quoted field may span lines."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # Where rows end is unknown from here on, so no row of this file can be trusted.
            raise DataError(f"{path}: the row that starts on line {line} is wrongly quoted; correct it") from error
        if fields:
            yield line, fields


def _row(name: str, columns: tuple[str, ...], line: int, fields: list[str]) -> Row | BadRow:
    if len(fields) != len(columns):
        return BadRow(name, line, f"the row has {len(fields)} fields and the header {len(columns)}")
    return Row(line, {column: field.strip() for column, field in zip(columns, fields, strict=True)})
