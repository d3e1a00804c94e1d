"""An array in a file of NumPy's own format, written row after row and read row by row.

Rows are read with `preadv(2)` into the tensor that asked for them, and the file is not mapped. Mapped pages would count
as memory of the process until the system takes them back, and a file that is cut short under a mapping ends the process
with a signal. So memory is what is asked for, the system's page cache does the rest, and a fault is an error.

The format is that of `numpy.save` (NumPy enhancement proposal 1, version 1.0), which `numpy.load` reads too.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import weakref
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from common.errors import DataError

_PIECE_BYTES = 1 << 26
"""Read at once where a whole file is."""
_VERSION = (1, 0)
REMEDY = "delete it, and run wardround site prepare"


class StoredArray:
    """An array in a file that is open for reading; a file that takes its place is not seen, one that is changed is.

    Args:
        descriptor: Of the file; closed with the array.
        name: What the file is called in an error.

    Raises:
        DataError: It is no such array, or is cut short.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        weakref.finalize(self, os.close, descriptor)
        self._descriptor, self._name = descriptor, name
        shape, dtype, self._start = _header(descriptor, name)
        self.shape, self.dtype = shape, dtype
        self._row_bytes = math.prod(shape[1:]) * dtype.itemsize
        self._state = self._state_now()
        wanted, there = self._start + shape[0] * self._row_bytes, self._state[0]
        if there != wanted:
            raise DataError(f"{name}: holds {there} bytes where its header says {wanted}; {REMEDY}")

    @classmethod
    def open(cls, path: Path) -> StoredArray:
        """The array in a file.

        Raises:
            DataError: It cannot be read, is no such array, or is cut short.
        """
        try:
            return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC), str(path))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error

    @classmethod
    def of(cls, file: BinaryIO, name: str) -> StoredArray:
        """The array in an open file, which may then be closed.

        Raises:
            DataError: It is no such array, or is cut short.
        """
        return cls(os.dup(file.fileno()), name)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return self._state[0]

    def read(self, rows: NDArray[np.int64], *, pinned: bool = False) -> Tensor:
        """Some rows `[R, ...]`, on the CPU; neighbours are read at once.

        Args:
            rows: Their numbers.
            pinned: Whether into memory that a GPU reads by itself.

        Raises:
            DataError: The file was changed since it was opened, or cannot be read.
        """
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"{self._name}: has {len(self)} rows")
        kind = torch.from_numpy(np.empty(0, self.dtype)).dtype
        found = torch.empty((len(rows), *self.shape[1:]), dtype=kind, pin_memory=pinned)
        content = found.numpy().reshape(-1).view(np.uint8).data
        self._check_unchanged()
        for start, stop in _runs(rows):
            part = content[start * self._row_bytes : stop * self._row_bytes]
            self._fill(part, self._start + int(rows[start]) * self._row_bytes)
        return found

    def pieces(self) -> Iterator[bytearray]:
        """The whole file, some megabytes at a time.

        Raises:
            DataError: The file was changed since it was opened, or cannot be read.
        """
        for start in range(0, self.num_bytes, _PIECE_BYTES):
            self._check_unchanged()
            piece = bytearray(min(_PIECE_BYTES, self.num_bytes - start))
            self._fill(memoryview(piece), start)
            yield piece

    def _fill(self, content: memoryview, position: int) -> None:
        done = 0
        while done < len(content):
            try:
                read = os.preadv(self._descriptor, [content[done:]], position + done)
            except OSError as error:
                raise DataError(f"{self._name}: cannot be read ({error.strerror}); {REMEDY}") from error
            if not read:
                raise DataError(f"{self._name}: was cut short while it was in use; {REMEDY}")
            done += read

    def _check_unchanged(self) -> None:
        if self._state_now() != self._state:
            raise DataError(f"{self._name}: was changed while it was in use; {REMEDY}")

    def _state_now(self) -> tuple[int, int]:
        found = os.fstat(self._descriptor)
        return found.st_size, found.st_mtime_ns


class ArrayWriter:
    """Writes an array, some rows at a time.

    Args:
        file: Open for writing, empty.
        num_rows: How many rows it will be, at least one.
    """

    def __init__(self, file: BinaryIO, *, num_rows: int) -> None:
        self._file, self._num_rows = file, num_rows
        self._written = 0
        self._row: tuple[tuple[int, ...], np.dtype[np.generic]] | None = None
        self._digest = hashlib.sha256()

    def add(self, rows: Tensor) -> None:
        """Write rows `[R, ...]`, on the CPU.

        Raises:
            OSError: The disk is full.
            ValueError: They are of another shape or type than those before.
        """
        content = np.ascontiguousarray(rows.numpy())
        row = content.shape[1:], content.dtype
        if self._row is None:
            self._row = row
            self._write(_header_of((self._num_rows, *row[0]), row[1]))
        if row != self._row:
            raise ValueError(f"rows {row} after rows {self._row}")
        self._write(content.reshape(-1).view(np.uint8).tobytes())
        self._written += len(content)

    def finish(self) -> str:
        """End it; SHA-256 of the file, in hexadecimal.

        Raises:
            OSError: The disk is full.
            ValueError: It is not as many rows as were to be written.
        """
        if self._written != self._num_rows:
            raise ValueError(f"{self._written} rows where {self._num_rows} were to be written")
        self._file.flush()
        return self._digest.hexdigest()

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._digest.update(content)


def _header_of(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> bytes:
    header = io.BytesIO()
    npy.write_array_header_1_0(header, {"shape": shape, "fortran_order": False, "descr": npy.dtype_to_descr(dtype)})
    return header.getvalue()


def _header(descriptor: int, name: str) -> tuple[tuple[int, ...], np.dtype[np.generic], int]:
    """Shape, type and where the rows begin."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        try:
            version = npy.read_magic(file)
            shape, is_fortran, dtype = npy.read_array_header_1_0(file)
        except ValueError as error:
            raise DataError(f"{name}: is no array of studies; {REMEDY}") from error
        except OSError as error:
            raise DataError(f"{name}: cannot be read ({error.strerror}); {REMEDY}") from error
        if version != _VERSION or is_fortran or dtype.hasobject or not shape:
            raise DataError(f"{name}: is no array of studies; {REMEDY}")
        return shape, dtype, file.tell()


def _runs(rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Where runs of neighbouring rows start and stop."""
    if not len(rows):
        return iter(())
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    return pairwise([0, *breaks.tolist(), len(rows)])
