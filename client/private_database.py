"""A small database of a hospital's own in one file: made where there is none, readable by its owner alone.

SQLite in write-ahead mode: a killed process leaves it as it was after the last transaction.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.errors import WardroundError


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a database holds, and what a hospital is told where it cannot be used.

    Attributes:
        schema: SQL that makes its tables where they are not there.
        version: Of the tables; from 1.
        outlasts_power: Whether a transaction is on the disk, too, when the machine loses power after it.
        error: What is raised.
        use: What it serves, as a command: "answer".
        remedy: What the hospital can do where the disk or the file fails.
    """

    schema: str
    version: int
    outlasts_power: bool
    error: type[WardroundError]
    use: str
    remedy: str


@contextmanager
def private_database(path: Path, layout: Layout) -> Iterator[sqlite3.Connection]:
    """An open connection; what SQLite raises of it inside the block is raised as the layout's error.

    Raises:
        WardroundError: As the layout says: the file is of another version, damaged, or the disk refuses it.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise _unusable(path, layout, error) from error
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if layout.outlasts_power else 'NORMAL'}")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version not in {0, layout.version}:
                raise layout.error(f"{path}: is of another version of wardround; {layout.use} with that one")
            connection.executescript(layout.schema)
            connection.execute(f"PRAGMA user_version = {layout.version}")
            yield connection
    except sqlite3.Error as error:
        raise _unusable(path, layout, error) from error


def _unusable(path: Path, layout: Layout, error: Exception) -> WardroundError:
    return layout.error(f"{path}: cannot be read or written ({error}); {layout.remedy}")
