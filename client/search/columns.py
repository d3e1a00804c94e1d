"""Columns of an index: one value a row, raw bytes in a file, under a Merkle root.

The leaves are the file's pieces of a mebibyte: to check a file takes one pass of SHA-256, and a proof that a row stands
in it is one piece and a path. One leaf a row would cost some 15 seconds for ten million of them, at every load.

What is searched is read into memory and checked there, not mapped: a page of a mapping can change after it was
checked, and a file that is cut short under a mapping ends the process (common/decisions/0030-studies-on-the-disk.md).
Everything else is checked once, stays on the disk, and a row is read when it is asked for.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import TrustError
from common.evidence.merkle import Tree, leaf_hash
from common.files import flush, named_in_errors

PIECE_BYTES = 1 << 20
REMEDY = "delete search/head.json, run wardround site index, and withdraw anew what was withdrawn"


@dataclass(frozen=True, kw_only=True)
class Column:
    """What is signed of a column.

    Attributes:
        name: Its name, and its file's.
        row_bytes: Bytes of a row.
        num_rows: How many.
        root: Merkle root over its pieces, in hexadecimal.
    """

    name: str
    row_bytes: int
    num_rows: int
    root: str

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return self.row_bytes * self.num_rows


def write_column(folder: Path, name: str, values: NDArray[Any]) -> Column:
    """Write a column, on the disk before this returns.

    Args:
        folder: Where to; the file is named as the column.
        name: Its name.
        values: `[N, ...]`.

    Raises:
        OSError: The disk is full; it names the file.
    """
    path, content = folder / name, _bytes_of(values)
    with named_in_errors(path):
        with path.open("xb") as file:
            file.write(content)
        flush(path)
    row_bytes = values.dtype.itemsize * int(np.prod(values.shape[1:], dtype=np.int64))
    return Column(name=name, row_bytes=row_bytes, num_rows=len(values), root=_root_of(_pieces(content)))


class StoredColumn:
    """A column in a file that is open for reading; a folder that is deleted meanwhile does not matter.

    Args:
        folder: Where it lies.
        column: What is signed of it.
        dtype: Of a value.
        shape: Of a row.

    Raises:
        FileNotFoundError: There is none.
        TrustError: It cannot be read, or is not of the size or the rows that were signed.
    """

    def __init__(self, folder: Path, column: Column, dtype: np.dtype[Any], shape: Sequence[int] = ()) -> None:
        self._path, self._column, self._dtype, self._shape = folder / column.name, column, dtype, tuple(shape)
        row_bytes = dtype.itemsize * int(np.prod(self._shape, dtype=np.int64))
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, self._descriptor)
            size = os.fstat(self._descriptor).st_size
        except FileNotFoundError:
            raise
        except OSError as error:
            raise TrustError(f"{self._path}: cannot be read ({error.strerror}); {REMEDY}") from error
        if (row_bytes, size) != (column.row_bytes, column.num_bytes):
            raise self._not_as_written()

    def __len__(self) -> int:
        return self._column.num_rows

    def loaded(self) -> NDArray[Any]:
        """All rows in memory, checked there.

        Raises:
            TrustError: They are not what was written.
        """
        values = self.whole()
        if _root_of(_pieces(_bytes_of(values))) != self._column.root:
            raise self._not_as_written()
        return values

    def check(self) -> None:
        """Return where all rows are what was written; one piece of them is in memory at a time.

        Raises:
            TrustError: They are not.
        """
        if _root_of(self._stored_pieces()) != self._column.root:
            raise self._not_as_written()

    def whole(self) -> NDArray[Any]:
        """All rows, read now.

        Raises:
            TrustError: They cannot be read.
        """
        content = bytearray(self._column.num_bytes)
        self._fill(memoryview(content), 0)
        return self._values(content)

    def row(self, number: int) -> Any:  # noqa: ANN401 - one value of the column's type
        """One row, read now.

        Raises:
            TrustError: It cannot be read.
        """
        content = bytearray(self._column.row_bytes)
        self._fill(memoryview(content), number * self._column.row_bytes)
        return self._values(content)[0]

    def _values(self, content: bytearray) -> NDArray[Any]:
        values = np.frombuffer(content, self._dtype) if content else np.empty(0, self._dtype)
        return values.reshape(len(content) // self._column.row_bytes, *self._shape)

    def _stored_pieces(self) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(PIECE_BYTES))
        for start in range(0, self._column.num_bytes, PIECE_BYTES):
            piece = buffer[: self._column.num_bytes - start]
            self._fill(piece, start)
            yield piece

    def _fill(self, content: memoryview, position: int) -> None:
        done = 0
        while done < len(content):
            try:
                read = os.preadv(self._descriptor, [content[done:]], position + done)
            except OSError as error:
                raise TrustError(f"{self._path}: cannot be read ({error.strerror}); {REMEDY}") from error
            if not read:
                raise self._not_as_written()
            done += read

    def _not_as_written(self) -> TrustError:
        return TrustError(f"{self._path}: is not what was written; {REMEDY}")


def _bytes_of(values: NDArray[Any]) -> memoryview:
    whole = np.ascontiguousarray(values)
    return memoryview(whole.reshape(-1).view(np.uint8).data) if whole.size else memoryview(b"")


def _pieces(content: memoryview) -> Iterator[memoryview]:
    return (content[start : start + PIECE_BYTES] for start in range(0, len(content), PIECE_BYTES))


def _root_of(pieces: Iterator[memoryview]) -> str:
    return Tree(leaf_hash(bytes(piece)) for piece in pieces).root.hex()
