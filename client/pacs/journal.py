"""What an import has done: one row a study, in SQLite, on the disk before the next study is begun.

A study is written down after its files have their place: killed in between, it is fetched again, whole. The texts of
structured reports, and the rows of a table of reports that name a study here, are kept with it, so that pairing needs
no instance and no table again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from client.pacs.instances import Contents
from client.private_database import Layout, private_database
from common.errors import ConfigError, DataError

_LAYOUT = Layout(
    version=1,
    schema="""
CREATE TABLE IF NOT EXISTS studies (
    study_uid TEXT PRIMARY KEY, day TEXT NOT NULL, num_listed INTEGER,
    patient_id TEXT NOT NULL, accession TEXT NOT NULL, num_images INTEGER NOT NULL, report TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_accession ON studies (accession);
CREATE TABLE IF NOT EXISTS modalities (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS table_rows (accession TEXT PRIMARY KEY, columns TEXT NOT NULL);
""",
    outlasts_power=True,
    error=DataError,
    use="import",
    remedy="make room or put a copy back: without it all is fetched again",
)


@dataclass(frozen=True)
class Listed:
    """A study that was fetched.

    Attributes:
        num_instances: How many instances the archive listed then; None where it did not say.
        num_images: Images that were kept of it.
    """

    num_instances: int | None
    num_images: int


class Journal:
    """The journal of one folder.

    Args:
        connection: Open on its file.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def check_modalities(self, wanted: Collection[str]) -> None:
        """Check that the modalities are those of the first time, when they are written down.

        Raises:
            ConfigError: They are others: a study that is here would lack series, and nobody would know.
        """
        with self._connection:
            if self._connection.execute("SELECT 1 FROM modalities").fetchone() is None:
                self._connection.executemany("INSERT INTO modalities VALUES (?)", [(name,) for name in wanted or ("",)])
        before = {name for (name,) in self._connection.execute("SELECT name FROM modalities")}
        if before != set(wanted or ("",)):
            said = ",".join(sorted(before)) or "no --modality"
            raise ConfigError(f"--modality: this folder was begun with {said}; give the same, or another --out")

    @property
    def is_empty(self) -> bool:
        """Whether no study was ever fetched."""
        return self._connection.execute("SELECT 1 FROM studies").fetchone() is None

    def listed(self, study_uid: str) -> Listed | None:
        """What is written down of a study; None where it was not fetched."""
        row = self._connection.execute(
            "SELECT num_listed, num_images FROM studies WHERE study_uid = ?", (study_uid,)
        ).fetchone()
        return None if row is None else Listed(*row)

    def forget(self, study_uid: str) -> None:
        """Forget a study, so that it will be fetched again; a study that is not here is none."""
        with self._connection:
            self._connection.execute("DELETE FROM studies WHERE study_uid = ?", (study_uid,))

    def write_down(self, contents: Contents, *, day: date, num_listed: int | None) -> None:
        """Write down that a study is here; it is on the disk when this returns."""
        with self._connection:
            self._connection.execute(
                "INSERT INTO studies VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    contents.study_uid,
                    day.isoformat(),
                    num_listed,
                    contents.patient_id,
                    contents.accession,
                    contents.num_images,
                    contents.report,
                ),
            )

    def keep_rows(self, rows: Iterable[Mapping[str, str]]) -> int:
        """Keep those rows of a table of reports whose accession number a study has.

        Returns:
            How many.
        """
        with self._connection:
            return sum(
                self._connection.execute(
                    "INSERT OR REPLACE INTO table_rows SELECT :accession, :columns "
                    "WHERE EXISTS (SELECT 1 FROM studies WHERE accession = :accession)",
                    {"accession": row["accession_number"], "columns": json.dumps(dict(row))},
                ).rowcount
                for row in rows
            )

    def by_accession(self) -> Iterator[tuple[Contents, Mapping[str, str] | None]]:
        """Every study with the row of a table that names it; those of one accession number stand together."""
        for *study, columns in self._connection.execute(
            "SELECT study_uid, patient_id, accession, num_images, report, columns FROM studies "
            "LEFT JOIN table_rows USING (accession) ORDER BY accession, day, study_uid"
        ):
            yield Contents(*study), None if columns is None else json.loads(columns)

    def columns(self) -> list[str]:
        """Names of the columns of all rows that are kept, in alphabetical order."""
        rows = self._connection.execute("SELECT columns FROM table_rows")
        return sorted({name for (columns,) in rows for name in json.loads(columns)})


@contextmanager
def opened_journal(path: Path) -> Iterator[Journal]:
    """The journal in a file, made where there is none, readable by its owner alone.

    Raises:
        DataError: The file is no journal of this version, damaged, or the disk refuses it.
    """
    with private_database(path, _LAYOUT) as connection:
        yield Journal(connection)
