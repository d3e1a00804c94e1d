"""Files that are whole or absent: atomic writes and digests."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a crash at any point leaves the old file or the new one, never a part.

    The content is flushed to the disk before the rename, the folder's entry after it (POSIX rename(2), fsync(2)).

    Raises:
        OSError: The disk is full or the folder cannot be written; it names `path`, and the old file is untouched.
    """
    with replaced_atomically(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replaced_atomically(path: Path) -> Iterator[Path]:
    """Lend a file beside `path` for the block to write; it takes the place of `path` when the block ends well.

    Raises:
        OSError: As `write_atomically`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        with named_in_errors(path):
            yield temporary
            flush(temporary)
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush(path.parent)


@contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """Give the system's errors in the block a file's name where they have none: write(2) and fsync(2) name no file."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def flush(path: Path) -> None:
    """Wait until a file's bytes, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_hex(content: bytes) -> str:
    """SHA-256 of the bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
