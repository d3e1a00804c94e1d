"""Reading a ledger's file without touching it: no lock, no change, no file beside it.

SQLite keeps the newest entries in a second file until it moves them over. Both are copied first, and the copy is
read. Do not call this in a process that holds the same ledger open: closing the file drops that process's locks
(POSIX, fcntl(2)).
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

from common.errors import ConfigError, LedgerError
from common.ledger.books import Books
from common.ledger.entries import StoredEntry
from common.ledger.head_file import check_against_head_file, read_head
from common.trust.keys import PublicKey

APPLICATION_ID = 0x57724C67
"""Marks an SQLite file as a ledger ("WrLg")."""

_ATTEMPTS = 20
MOST_BYTES = 1 << 30
"""Greatest size of a ledger that is read: millions of entries, and no copy that fills a disk."""


def read_books(path: Path, *, public_key: PublicKey | None = None) -> Books:
    """The books of a ledger's file, every entry checked, and its head file's where there is one.

    Args:
        path: The file.
        public_key: The site's key, known from elsewhere. Without it, a ledger that someone else wrote anew and
            signed with a key of their own looks as good as the site's.

    Raises:
        ConfigError: There is no such file, or it is no ledger.
        LedgerError: An entry is damaged, forged, missing or out of place; the first such entry is named.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; name a ledger, for example ledger.sqlite3 in a site's state folder")
    if path.stat().st_size > MOST_BYTES:
        raise LedgerError(f"{path}: has more than {MOST_BYTES >> 20} MiB, as no ledger has; it is another file")
    head = read_head(path)  # before the entries: a head that is written meanwhile is not held against them
    with tempfile.TemporaryDirectory(prefix="wardround-ledger-") as folder:
        copy = _copied(path, Path(folder))
        try:
            # Closed here and not by the garbage collector, which may do it in another thread, where SQLite refuses.
            with closing(_stored_entries(copy, path)) as entries:
                books = Books(entries)
        except LedgerError as error:
            raise LedgerError(f"{path}: {error}") from error
    if len(books) == 0:
        raise LedgerError(f"{path}: entry 1: is missing")
    if public_key is not None and public_key != books.public_key:
        raise LedgerError(f"{path}: entry 1: the ledger was signed with another key than the one given")
    if head is not None:
        check_against_head_file(path, books, head)
    return books


def stored_entries(connection: sqlite3.Connection, *, after: int = 0) -> Iterator[StoredEntry]:
    """The entries behind number `after`, in the order of their numbers.

    Raises:
        LedgerError: A row is missing, or holds something else than an entry.
        sqlite3.DatabaseError: The file is damaged.
    """
    rows = connection.execute(
        "SELECT sequence, record, digest, signature FROM entries WHERE sequence > ? ORDER BY sequence", (after,)
    )
    for expected, (sequence, record, digest, signature) in enumerate(rows, start=after + 1):
        if sequence != expected:
            raise LedgerError(f"entry {expected}: is missing")
        if not (isinstance(record, bytes) and isinstance(digest, str) and isinstance(signature, bytes)):
            raise LedgerError(f"entry {expected}: is no entry; it is damaged or newer")
        yield StoredEntry(record=record, digest=digest, signature=signature)


def _stored_entries(copy: Path, named: Path) -> Generator[StoredEntry, None, None]:
    try:
        with closing(sqlite3.connect(copy)) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            if application != APPLICATION_ID:
                raise ConfigError(f"{named}: is an SQLite file, but no ledger")
            yield from stored_entries(connection)
    except sqlite3.DatabaseError as error:
        if copy.read_bytes()[:16] != b"SQLite format 3\0":
            raise ConfigError(f"{named}: is no ledger") from error
        raise LedgerError(f"the file is damaged ({error})") from error


def _copied(path: Path, folder: Path) -> Path:
    """A copy of the file and of what SQLite has not moved into it yet, both as they were at one moment.

    Raises:
        LedgerError: The site writes faster than the file can be copied.
        OSError: The file cannot be read.
    """
    copy = folder / "ledger.sqlite3"
    files = {path: copy, path.with_name(f"{path.name}-wal"): copy.with_name(f"{copy.name}-wal")}
    for _ in range(_ATTEMPTS):
        before = _state_of(files)
        for source, target in files.items():
            target.unlink(missing_ok=True)
            if source.exists():
                shutil.copyfile(source, target)
        if _state_of(files) == before:
            return copy
    raise LedgerError("the site is writing to it all the time; try again")


def _state_of(files: dict[Path, Path]) -> list[tuple[int, int, int] | None]:
    states: list[tuple[int, int, int] | None] = []
    for path in files:
        try:
            found = path.stat()
            states.append((found.st_ino, found.st_size, found.st_mtime_ns))
        except FileNotFoundError:
            states.append(None)
    return states
