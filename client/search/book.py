"""Who asked what, and was told which studies: what the limits on searching are reckoned from.

An index could be copied by asking for one neighbourhood after another. So a question is written down before it is
answered, and stays for a day; a restart forgets nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from client.private_database import Layout, private_database
from common.errors import TrustError
from common.hashing.codes import Codes
from common.hashing.hamming import hamming_distances

BOOK_FILE = "search.sqlite3"
KEPT = timedelta(days=1)
HOUR = timedelta(hours=1)

_LAYOUT = Layout(
    version=1,
    schema="""
CREATE TABLE IF NOT EXISTS asked (
    asker TEXT NOT NULL, at REAL NOT NULL, number TEXT NOT NULL UNIQUE, code BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS asked_by ON asked (asker, at);
CREATE TABLE IF NOT EXISTS told (
    asker TEXT NOT NULL, handle TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (asker, handle)
);
""",
    outlasts_power=False,
    error=TrustError,
    use="answer",
    remedy="make room or put a copy back: without it no question is answered",
)


class Book:
    """The book of one hospital.

    Args:
        connection: Open on its file.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def note_question(self, *, asker: str, number: str, code_P: Codes, now: datetime) -> None:
        """Write a question down, and forget what is older than a day.

        Raises:
            TrustError: A question of this number was asked before.
        """
        oldest = (now - KEPT).timestamp()
        try:
            with self._connection:
                self._connection.execute("DELETE FROM asked WHERE at < ?", (oldest,))
                self._connection.execute("DELETE FROM told WHERE at < ?", (oldest,))
                self._connection.execute(
                    "INSERT INTO asked VALUES (?, ?, ?, ?)", (asker, now.timestamp(), number, code_P.tobytes())
                )
        except sqlite3.IntegrityError as error:
            raise TrustError(f"{asker}: this question was asked before; a question is answered once") from error

    def num_asked(self, asker: str, *, since: datetime) -> int:
        """Questions of a hospital since a time within the last day."""
        (number,) = self._connection.execute(
            "SELECT count(*) FROM asked WHERE asker = ? AND at > ?", (asker, since.timestamp())
        ).fetchone()
        return int(number)

    def num_nearby(self, asker: str, code_P: Codes, *, within_bits: int, since: datetime) -> int:
        """Questions of a hospital since a time whose codes lie within some bits of this one."""
        rows = self._connection.execute(
            "SELECT code FROM asked WHERE asker = ? AND at > ? AND length(code) = ?",
            (asker, since.timestamp(), len(code_P)),
        ).fetchall()
        if not rows:
            return 0
        codes_AP = np.frombuffer(b"".join(code for (code,) in rows), dtype=np.uint8).reshape(-1, len(code_P))
        return int((hamming_distances(code_P[None], codes_AP) <= within_bits).sum())

    def num_told(self, asker: str, *, since: datetime) -> int:
        """Different studies that a hospital was told of since a time within the last day."""
        (number,) = self._connection.execute(
            "SELECT count(*) FROM told WHERE asker = ? AND at > ?", (asker, since.timestamp())
        ).fetchone()
        return int(number)

    def note_told(self, asker: str, handles: Iterable[str], *, now: datetime) -> None:
        """Write down of which studies a hospital is about to be told."""
        with self._connection:
            self._connection.executemany(
                "INSERT OR REPLACE INTO told VALUES (?, ?, ?)", [(asker, handle, now.timestamp()) for handle in handles]
            )


@contextmanager
def opened_book(state_folder: Path) -> Iterator[Book]:
    """A hospital's book, made where there is none, readable by its owner alone.

    Raises:
        TrustError: The file is no book of this version, damaged, or the disk refuses it: nothing is answered then.
    """
    with private_database(state_folder / BOOK_FILE, _LAYOUT) as connection:
        yield Book(connection)
