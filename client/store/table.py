"""The table of a hospital's prepared studies, an SQLite file: what is known of each, and where its features lie.

It is written study after study while they are read, whole or absent in the end, and never changed. The texts of the
reports stay in it until somebody asks for some: a hospital's archive of them is larger than all else here.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.data.identity import image_digest, report_digest
from common.errors import DataError
from common.types import Lacks, Study, StudyRecord

_COLUMNS = "study_id, patient_id, sex, age, race, scanner, language, site, findings, split_group, unread, lacks"
_TABLES = f"""
CREATE TABLE studies (position INTEGER PRIMARY KEY, {_COLUMNS}, first_image INTEGER, num_images INTEGER);
CREATE TABLE reports (position INTEGER PRIMARY KEY, digest BLOB, text TEXT);
CREATE TABLE images (position INTEGER PRIMARY KEY, digest BLOB);
"""
_PAIRS = """
SELECT images.digest, reports.digest FROM studies
JOIN images ON images.position = first_image JOIN reports ON reports.position = studies.position
WHERE studies.position < ? ORDER BY studies.position
"""


@dataclass(frozen=True)
class Contents:
    """Digests of what a study holds.

    Attributes:
        images: Of each image, the main one first.
        report: Of the report's text.
    """

    images: tuple[str, ...]
    report: str

    @classmethod
    def of(cls, study: Study) -> Contents:
        """Those of a decoded study."""
        images = tuple(map(image_digest, (study.image, *study.other_images)))
        return cls(images, report_digest(study.record.report))


class TableWriter:
    """Writes a table from the first study on."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.num_studies = self.num_images = 0

    @classmethod
    @contextmanager
    def to(cls, path: Path) -> Iterator[TableWriter]:
        """Lend the writer of a new file; it is whole when the block ends.

        Raises:
            DataError: The disk is full.
        """
        with _told(path), closing(sqlite3.connect(path)) as connection:
            # The file counts for nothing until it is whole, and is thrown away otherwise: no journal.
            connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _TABLES)
            yield cls(connection)
            connection.commit()

    def add(self, studies: Sequence[Study], contents: Sequence[Contents]) -> None:
        """Add studies, in their order."""
        for study, content in zip(studies, contents, strict=True):
            found, at = study.record, self.num_studies
            where = (self.num_images, len(content.images))
            self._insert("studies", (at, *_row_of(found), *where))
            self._insert("reports", (at, bytes.fromhex(content.report), found.report))
            for image in content.images:
                self._insert("images", (self.num_images, bytes.fromhex(image)))
                self.num_images += 1
            self.num_studies += 1

    def pairs(self) -> list[tuple[str, str]]:
        """As of `StudyTable`, of what was added so far."""
        return _pairs(self._connection, self.num_studies)

    def _insert(self, table: str, row: Sequence[object]) -> None:
        marks = ", ".join("?" * len(row))
        self._connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)  # noqa: S608 - the names are ours


@dataclass(frozen=True)
class StudyTable:
    """A table that was written.

    Attributes:
        path: Its file.
    """

    path: Path

    def records(self) -> tuple[StudyRecord, ...]:
        """The records of all studies in order, without the texts of their reports.

        Raises:
            DataError: The table cannot be read.
        """
        query = f"SELECT {_COLUMNS} FROM studies ORDER BY position"  # noqa: S608 - the names are ours
        with self._opened() as connection:
            return tuple(_record(*row) for row in connection.execute(query))

    def images_of_each(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Number of each study's first image, and of how many it has.

        Raises:
            DataError: The table cannot be read.
        """
        with self._opened() as connection:
            found = connection.execute("SELECT first_image, num_images FROM studies ORDER BY position").fetchall()
        both = np.array(found, dtype=np.int64).reshape(-1, 2)
        return both[:, 0].copy(), both[:, 1].copy()

    def reports(self, positions: Sequence[int]) -> list[str]:
        """Texts of some studies' reports.

        Raises:
            DataError: The table cannot be read.
        """
        with self._opened() as connection:
            query = "SELECT text FROM reports WHERE position = ?"
            return [connection.execute(query, (int(at),)).fetchone()[0] for at in positions]

    def digests(self, kind: str) -> list[str]:
        """Content digests of all `images` or `reports`, in the order of their features.

        Raises:
            DataError: The table cannot be read.
        """
        query = f"SELECT digest FROM {kind} ORDER BY position"  # noqa: S608 - the names are ours
        with self._opened() as connection:
            return [digest.hex() for (digest,) in connection.execute(query)]

    def pairs(self, number: int) -> list[tuple[str, str]]:
        """Content digests of the main image and of the report of the first studies, which name them in a run.

        Raises:
            DataError: The table cannot be read.
        """
        with self._opened() as connection:
            return _pairs(connection, number)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        uri = f"{self.path.resolve().as_uri()}?mode=ro&immutable=1"
        with _told(self.path), closing(sqlite3.connect(uri, uri=True)) as connection:
            yield connection


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise DataError(f"{path}: {error}; look at the room on its disk, and run wardround site prepare") from error


def _pairs(connection: sqlite3.Connection, number: int) -> list[tuple[str, str]]:
    found = connection.execute(_PAIRS, (number,))
    return [(image.hex(), report.hex()) for image, report in found]


def _row_of(record: StudyRecord) -> tuple[object, ...]:
    """The columns of a record; a split group that is the patient's is left out, and put in again as the same text."""
    group = None if record.split_group == record.patient_id else record.split_group
    told = (record.sex, record.age, record.race, record.scanner, record.language, record.site, _list(record.findings))
    return (record.study_id, record.patient_id, *told, group, _list(record.unread), record.lacks)


def _list(names: tuple[str, ...]) -> str | None:
    return json.dumps(names) if names else None


def _record(
    study_id: str,
    patient_id: str,
    sex: str | None,
    age: int | None,
    race: str | None,
    scanner: str | None,
    language: str | None,
    site: str | None,
    findings: str | None,
    split_group: str | None,
    unread: str | None,
    lacks: str | None,
) -> StudyRecord:
    return StudyRecord(
        study_id=study_id,
        patient_id=patient_id,
        report="",
        sex=sex,
        age=age,
        race=race,
        scanner=scanner,
        language=language,
        site=site,
        findings=tuple(json.loads(findings)) if findings else (),
        split_group=split_group or "",
        unread=tuple(json.loads(unread)) if unread else (),
        lacks=None if lacks is None else Lacks(lacks),
    )
