"""The index of one way of preparing: which files hold it, whose they are, and what they were when they were written.

It is small, private, written last and whole or absent, with a digest of its own content: files that no index names
count for nothing. To hold the arrays against it takes as long for many studies as for few: their headers, sizes and
times of change are looked at. The table is small, and its digest is computed. `unlike` reads every byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from client.store.arrays import REMEDY, StoredArray
from client.store.rows import StoredRows
from client.store.table import StudyTable
from common.canonical import digest
from common.errors import DataError
from common.files import sha256_of_file, write_atomically

_FORMAT = 3
IMAGES, REPORTS = "images", "reports"
"""Kinds of features."""


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file beside the index.

    Attributes:
        name: Its name.
        num_bytes: Its size.
        mtime_ns: When it was written, as the system notes it.
        sha256: Its digest, in hexadecimal.
    """

    name: str
    num_bytes: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path, *, sha256: str) -> StoredFile:
        """A file that was written."""
        found = path.stat()
        return cls(name=path.name, num_bytes=found.st_size, mtime_ns=found.st_mtime_ns, sha256=sha256)


@dataclass(frozen=True, kw_only=True)
class Index:
    """What was prepared.

    Attributes:
        key: The way of preparing.
        encodings: Name of the encoding of `images` and of `reports`.
        source: Digest of the folders as they were (`client/store/source.py`).
        num_public: Public studies, the first ones.
        num_own: The hospital's own, after them, unpaired ones among them.
        num_bad_rows: Rows of its own that could not be read.
        table: The table of all studies.
        arrays: The array of each kind.
    """

    key: str
    encodings: Mapping[str, str]
    source: str
    num_public: int
    num_own: int
    num_bad_rows: int
    table: StoredFile
    arrays: Mapping[str, StoredFile]

    @property
    def files(self) -> list[StoredFile]:
        """All files that it names."""
        return [self.table, *self.arrays.values()]


@dataclass(frozen=True)
class OpenedFiles:
    """The files of an index, found to be what it says as far as sizes and headers tell.

    Attributes:
        table: The table of all studies.
        arrays: The array of each kind.
    """

    table: StudyTable
    arrays: Mapping[str, StoredArray]

    def rows(self) -> tuple[StoredRows, StoredRows]:
        """Features of the images and of the reports of all studies.

        Raises:
            DataError: The table cannot be read, or the arrays are of other studies.
        """
        images, reports = self.arrays[IMAGES], self.arrays[REPORTS]
        first_N, count_N = self.table.images_of_each()
        if (count_N.sum(), len(count_N)) != (len(images), len(reports)):
            raise DataError(f"{self.table.path}: is of other studies than the arrays beside it; {REMEDY}")
        each_N = np.arange(len(reports), dtype=np.int64)
        return StoredRows(images, first_N, count_N), StoredRows(reports, each_N, np.ones_like(each_N))


def write_index(path: Path, index: Index) -> None:
    """Write an index, readable by its owner alone.

    Raises:
        DataError: The disk refuses it.
    """
    content = asdict(index)
    document = {"format": _FORMAT, "sha256": digest(content), "index": content}
    try:
        write_atomically(path, json.dumps(document).encode())
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); make room, and prepare again") from error


def read_index(path: Path) -> Index | None:
    """The index in a file; None where there is none that is whole.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        document = json.loads(path.read_bytes())
        content = document["index"]
        if document["format"] != _FORMAT or document["sha256"] != digest(content):
            return None
        table = StoredFile(**content.pop("table"))
        arrays = {kind: StoredFile(**found) for kind, found in content.pop("arrays").items()}
        return Index(**content, table=table, arrays=arrays)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); mend its rights") from error
    except (ValueError, KeyError, TypeError):
        return None


def open_files(folder: Path, index: Index) -> OpenedFiles:
    """Open the files of an index.

    Raises:
        DataError: One is not what the index says; the file and the remedy are named.
    """
    return OpenedFiles(open_table(folder, index), {kind: open_array(folder, index, kind) for kind in index.arrays})


def open_table(folder: Path, index: Index) -> StudyTable:
    """Open the table of an index.

    Raises:
        DataError: It is not what the index says.
    """
    path = folder / index.table.name
    try:
        is_right = path.stat().st_size == index.table.num_bytes and sha256_of_file(path) == index.table.sha256
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error
    if not is_right:
        raise DataError(f"{path}: is not what was written; {REMEDY}")
    return StudyTable(path)


def open_array(folder: Path, index: Index, kind: str) -> StoredArray:
    """Open an array of an index. One that was touched since it was written, or copied, is read in full.

    Raises:
        DataError: It is not what the index says, as far as that tells.
    """
    file = index.arrays[kind]
    path = folder / file.name
    array = StoredArray.open(path)
    if StoredFile.of(path, sha256=file.sha256) != file and sha256_of_file(path) != file.sha256:
        raise DataError(f"{path}: is not what was written; {REMEDY}")
    return array


def unlike(folder: Path, index: Index) -> Iterator[DataError]:
    """Each file of an index that is not, byte for byte, what was written; with its name and the remedy."""
    for file in index.files:
        path = folder / file.name
        try:
            whole = sha256_of_file(path) == file.sha256
        except OSError as error:
            yield DataError(f"{path}: cannot be read ({error.strerror}); {REMEDY}")
        else:
            if not whole:
                yield DataError(f"{path}: is not what was written; {REMEDY}")


def indexes_in(folder: Path) -> dict[Path, Index]:
    """Every whole index in a folder."""
    found = {path: read_index(path) for path in sorted(folder.glob("*.json"))}
    return {path: index for path, index in found.items() if index is not None}
