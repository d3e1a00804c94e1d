"""A hospital's own table of reports, by accession number, as its departments write it (`client/data/rows.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from client.data.dicom import REQUIRED
from client.data.rows import Row, read_table
from common.errors import ConfigError


@dataclass(frozen=True)
class ReportTable:
    """The rows of a table that give a report.

    Attributes:
        rows: Column to value; each accession number once, as it stands first.
        unusable: Line of each other row, and what is wrong with it.
    """

    rows: tuple[Mapping[str, str], ...] = ()
    unusable: tuple[tuple[int, str], ...] = ()


def read_report_table(path: Path) -> ReportTable:
    """Read a table with the columns accession_number and report; any others go along.

    Raises:
        ConfigError: There is no such file.
        DataError: It cannot be read, or a column is missing.
    """
    if not path.is_file():
        raise ConfigError(f"--reports {path}: no such file; name the table of reports")
    rows: dict[str, Mapping[str, str]] = {}
    unusable: list[tuple[int, str]] = []
    for row in read_table(path, required=REQUIRED).rows:
        if not isinstance(row, Row):
            unusable.append((row.row, row.reason))
        elif blank := next((name for name in REQUIRED if not row.values[name]), None):
            unusable.append((row.line, f"{blank} is empty"))
        elif (accession := row.values["accession_number"]) in rows:
            unusable.append((row.line, "accession_number repeats that of an earlier line"))
        else:
            rows[accession] = row.values
    return ReportTable(tuple(rows.values()), tuple(unusable))
