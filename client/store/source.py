"""Whether a folder of studies is still what it was: a digest of every file's name, size and time of change.

It reads no file, so that it can be asked before each run: a change that keeps size and time to the nanosecond is not
seen. It is as private as the studies.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from client.data.dicom import ROOM_OF_IMPORT
from common.canonical import digest
from common.errors import DataError


def source_digest(roots: Iterable[Path], *, without: Path) -> str:
    """SHA-256 over the files below some folders; what an import keeps to itself among them is no study.

    Args:
        roots: The folders.
        without: A folder below one of them that changes by itself, and is passed over.

    Raises:
        DataError: A folder cannot be read.
    """
    return digest([[str(root), list(_files(root.resolve(), without.resolve()))] for root in roots])


def _files(base: Path, without: Path, prefix: str = "") -> Iterator[list[str | int]]:
    """Name, size and time of each file. Plain names and one look at each: a hospital's archive has many of them."""
    try:
        with os.scandir(base) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); mend its rights") from error
    for entry in entries:
        if entry.is_dir():
            here = base / entry.name
            is_room = not prefix and entry.name == ROOM_OF_IMPORT
            if here != without and not is_room and not entry.is_symlink():
                yield from _files(here, without, f"{prefix}{entry.name}/")
            continue
        try:
            state = entry.stat()
        except OSError:
            continue  # a link to nothing, which an adapter lists as a bad row
        yield [prefix + entry.name, state.st_size, state.st_mtime_ns]
