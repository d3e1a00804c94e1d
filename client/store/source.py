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
    return digest([[str(root), list(_files(root, without.resolve()))] for root in roots])


def _files(root: Path, without: Path) -> Iterator[list[str | int]]:
    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); mend its rights") from error

    base = root.resolve()
    for folder, folders, files in os.walk(base, onerror=refuse):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if here / name not in {without, base / ROOM_OF_IMPORT})
        for name in sorted(files):
            path = here / name
            try:
                found = path.stat()
            except OSError:
                continue  # a link to nothing, which an adapter lists as a bad row
            yield [str(path.relative_to(base)), found.st_size, found.st_mtime_ns]
