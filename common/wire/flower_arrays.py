"""Named arrays as Flower's own NumPy arrays, so that any Flower tool can read them; decoded with limits.

They are decoded without a copy, and never unpickled.
"""

from __future__ import annotations

import io
import math
from functools import lru_cache
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.lib import format as npy
from numpy.typing import NDArray

from common.errors import AdmissionError
from common.wire.update import ArrayPlan, NamedArrays

_PREFIX_BYTES = 10
"""Of NumPy's format 1.0: the magic text, the version, and the length of what follows of the header."""
_MOST_HEADER_BYTES = 1024
"""Of one array; a header of our own has 128."""
_KEPT_HEADERS = 1024


def arrays_to_record(arrays: NamedArrays) -> ArrayRecord:
    """Named arrays as Flower's NumPy arrays, with one copy of the values."""
    return ArrayRecord({name: _to_array(value) for name, value in arrays.items()})


def arrays_from_record(record: ArrayRecord) -> NamedArrays:
    """Named arrays as read-only views of the record's bytes.

    Raises:
        AdmissionError: An array's bytes are not what its header says.
    """
    return {name: _from_array(array) for name, array in record.items()}


def planned_arrays(record: ArrayRecord, plan: ArrayPlan) -> NamedArrays:
    """Named arrays as read-only views of a record that is checked against a plan: names, bytes, shapes, types.

    Raises:
        AdmissionError: With a reason code: `keys`, `size`, `shape`, `dtype` or `malformed`.
    """
    if record.keys() != plan.arrays.keys():
        raise AdmissionError("keys")
    if sum(len(array.data) for array in record.values()) > plan.num_bytes + _MOST_HEADER_BYTES * len(plan.arrays):
        raise AdmissionError("size")
    arrays = arrays_from_record(record)
    plan.check(arrays)
    return arrays


def _to_array(array: NDArray[Any]) -> Array:
    contiguous = np.ascontiguousarray(array)
    data = b"".join((_header(array.shape, array.dtype), contiguous.reshape(-1).view(np.uint8).data))
    return Array(array.dtype.name, array.shape, "numpy.ndarray", data)


def _from_array(array: Array) -> NDArray[Any]:
    data = array.data
    start = _PREFIX_BYTES + int.from_bytes(data[_PREFIX_BYTES - 2 : _PREFIX_BYTES], "little")
    shape, dtype = _parsed(data[:start])
    if len(data) - start != dtype.itemsize * math.prod(shape):
        raise AdmissionError("malformed")
    try:
        return np.frombuffer(data, dtype=dtype, offset=start, count=math.prod(shape)).reshape(shape)
    except (TypeError, ValueError) as error:
        raise AdmissionError("malformed") from error


@lru_cache(maxsize=_KEPT_HEADERS)
def _header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The header of a C-ordered array in NumPy's format 1.0."""
    stream = io.BytesIO()
    fields = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(stream, fields)
    return stream.getvalue()


@lru_cache(maxsize=_KEPT_HEADERS)
def _parsed(header: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type in a header; the same few headers come from every site in every round.

    Raises:
        AdmissionError: It is not the header of a C-ordered array of numbers in NumPy's format 1.0.
    """
    stream = io.BytesIO(header)
    try:
        version = npy.read_magic(stream)
        shape, fortran_order, dtype = npy.read_array_header_1_0(stream)
    except Exception as error:  # NumPy hands hostile text to Python's own parser, which raises what it likes
        raise AdmissionError("malformed") from error
    if version != (1, 0) or fortran_order or dtype.hasobject:
        raise AdmissionError("malformed")
    return shape, dtype
