"""The ledger's file: entries in SQLite, appended in transactions that see every entry before them.

Write-ahead log with `synchronous=FULL`: a commit is on the disk when it returns (sqlite.org/pragma.html#synchronous).
A transaction takes the write lock before it reads, so that what it decides still holds when it commits. What is in the
file is checked as it is read; nothing is added behind an entry that does not hold.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock

from common.errors import LedgerError
from common.ledger.books import Books, Head
from common.ledger.entries import BEFORE_THE_FIRST, FORMAT, Body, Entry, StoredEntry, sign_entry
from common.ledger.head_file import write_head
from common.ledger.read import APPLICATION_ID, stored_entries
from common.trust.keys import SigningKey

_WAIT_SECONDS = 120.0
"""How long another process's transaction may take, its accounting included, before waiting for it is an error."""

_PAUSE_SECONDS = 0.005

_PRIMARY_CODE = 0xFF
"""The part of SQLite's result codes that says what is wrong; the rest says more (sqlite.org/rescode.html)."""

_SCHEMA = """
CREATE TABLE entries (
    sequence INTEGER PRIMARY KEY,
    record BLOB NOT NULL,
    digest TEXT NOT NULL,
    signature BLOB NOT NULL
) STRICT
"""


class LedgerFile:
    """One site's entries, open for appending. Threads may share it; a process that forks must open its own.

    Args:
        path: The file; made, readable by its owner alone, where there is none.
        key: Signs every new entry.

    Raises:
        LedgerError: It is no ledger, or cannot be read or written.
    """

    def __init__(self, path: Path, key: SigningKey) -> None:
        self.path = path
        self._key = key
        self._books = Books()
        self._lock = RLock()
        with self._failing_closed():
            _make_private(path)
            self._connection = sqlite3.connect(
                path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
        try:
            with self._failing_closed():
                self._prepare()
                self._opened = _identity_of(path)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file; what was written is on the disk already."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[Books]:
        """Lend the books with everything that is in the file now.

        Raises:
            LedgerError: The file is damaged or cannot be read.
        """
        with self._lock, self._failing_closed():
            self._catch_up()
            yield self._books

    def append(self, decide: Callable[[Books], Sequence[Body]]) -> Head:
        """Add entries, on the disk before this returns.

        Args:
            decide: Says what to add, from books that nobody else can add to meanwhile; what it raises ends the
                transaction and nothing is written.

        Returns:
            The last of the new entries, or of all where there is none.

        Raises:
            LedgerError: The file is damaged or cannot be written. The entries may be in it all the same.
        """
        with self._lock, self._failing_closed():
            with self._transaction():
                self._catch_up()
                entries = self._signed(decide(self._books))
                self._connection.executemany(
                    "INSERT INTO entries VALUES (?, ?, ?, ?)",
                    [(number, new.record, new.digest, new.signature) for number, new in entries],
                )
            for _, new in entries:
                self._books.add(new)
            write_head(self.path, self._books.head)
            return self._books.head

    def _signed(self, bodies: Sequence[Body]) -> list[tuple[int, StoredEntry]]:
        entries: list[tuple[int, StoredEntry]] = []
        previous = self._books.head.digest if len(self._books) else BEFORE_THE_FIRST
        for sequence, body in enumerate(bodies, start=len(self._books) + 1):
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            new = sign_entry(Entry(sequence=sequence, time=now, previous=previous, body=body), self._key)
            entries.append((sequence, new))
            previous = new.digest
        return entries

    def _prepare(self) -> None:
        """Make the table where the file is empty, and refuse any other file."""
        if self._journal_mode() != "wal":
            raise LedgerError(f"{self.path}: has no write-ahead log there; put the ledger on a local disk")
        self._connection.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            (application,) = self._connection.execute("PRAGMA application_id").fetchone()
            if tables == 0:
                self._connection.execute(_SCHEMA)
                self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._connection.execute(f"PRAGMA user_version = {FORMAT}")
            elif application != APPLICATION_ID:
                raise LedgerError(f"{self.path}: is an SQLite file, but no ledger")

    def _journal_mode(self) -> str:
        """Switch to the write-ahead log.

        For this alone SQLite does not wait while another process does the same, or recovers the log; so we do.
        """
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                return str(self._connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)

    def _catch_up(self) -> None:
        """Check and take in what is new in the file, by this process or another."""
        if self._opened != _identity_of(self.path):
            raise LedgerError(f"{self.path}: was taken away while in use; put the newest one back, and restart")
        known = len(self._books)
        found = stored_entries(self._connection, after=max(known - 1, 0))
        try:
            if known and next(found, None) != self._books.last:
                raise LedgerError(f"entry {known}: is not what it was; the file was changed")  # noqa: TRY301
            for entry in found:
                self._books.add(entry)
        except LedgerError as error:
            raise LedgerError(f"{self.path}: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Hold the write lock for the block; commit when it ends well."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _failing_closed(self) -> Iterator[None]:
        """Whatever the disk or SQLite says against it is a reason to release nothing."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(
                f"{self.path}: cannot be read or written ({error}); nothing is released until it can"
            ) from error


def _identity_of(path: Path) -> tuple[int, int] | None:
    """Which file has a name, None for none. One that was taken away is still open, and would be written for nobody."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _make_private(path: Path) -> None:
    """Make an empty file that its owner alone can read, where there is none.

    It gets its name when it is closed: to open and close a file that SQLite has open in this process would drop
    SQLite's locks (fcntl(2)).
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    try:
        with suppress(FileExistsError):
            path.hardlink_to(name)
    finally:
        Path(name).unlink()
