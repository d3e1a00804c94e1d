"""Arrays of Flower: they round-trip, Flower reads them, and no hostile bytes raise anything but admission."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.lib import format as npy
from numpy.typing import NDArray

from common.errors import AdmissionError
from common.wire.flower_arrays import arrays_from_record, arrays_to_record

DTYPES = st.sampled_from(["float32", "float64", "float16", "int64", "uint8", "bool", ">f4"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)


def sent(array: NDArray[np.generic]) -> NDArray[np.generic]:
    return arrays_from_record(arrays_to_record({"x": array}))["x"]


def same(first: NDArray[np.generic], second: NDArray[np.generic]) -> bool:
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


def decoded(data: bytes) -> NDArray[np.generic]:
    return arrays_from_record(ArrayRecord({"x": Array("float32", (2,), "numpy.ndarray", data)}))["x"]


def with_header(header: str, body: bytes = b"\0" * 8, *, version: bytes = b"\x01\x00") -> bytes:
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + body


def described(*, descr: object = "<f4", fortran: object = False, shape: object = (2,)) -> str:
    return repr({"descr": descr, "fortran_order": fortran, "shape": shape})


@given(ARRAYS)
def test_arrays_round_trip(array: NDArray[np.generic]) -> None:
    assert same(sent(array), array)


@given(ARRAYS)
def test_arrays_are_read_by_flower_itself(array: NDArray[np.generic]) -> None:
    assert same(arrays_to_record({"x": array})["x"].numpy(), array)


@given(ARRAYS)
def test_arrays_of_flower_itself_are_read(array: NDArray[np.generic]) -> None:
    record = ArrayRecord({"x": Array.from_numpy_ndarray(np.array(array, order="C"))})
    assert same(arrays_from_record(record)["x"], array)


def test_arrays_that_are_views_send_what_the_view_shows() -> None:
    whole = np.arange(24, dtype=np.float32).reshape(4, 6)
    for view in (whole[::2, ::3], whole.T, whole[::-1], np.broadcast_to(whole[:1], (3, 6))):
        np.testing.assert_array_equal(sent(view), view)


def test_received_array_is_a_read_only_view_of_the_record() -> None:
    record = arrays_to_record({"x": np.ones(1000, dtype=np.float32)})
    found = arrays_from_record(record)["x"]
    assert np.shares_memory(found, np.frombuffer(record["x"].data, dtype=np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 2


HOSTILE = {
    "empty": b"",
    "magic only": b"\x93NUMPY",
    "other magic": b"PK\x03\x04" + bytes(100),
    "header cut": with_header(described())[:20],
    "length beyond the bytes": b"\x93NUMPY\x01\x00\xff\xff{",
    "version 2": with_header(described(), version=b"\x02\x00"),
    "body cut": with_header(described(), bytes(7)),
    "body too long": with_header(described(), bytes(9)),
    "shape too large": with_header(described(shape=(10**30,))),
    "shape negative": with_header(described(shape=(-1,))),
    "shapes negative": with_header(described(shape=(-1, -2))),
    "shape of bools": with_header(described(shape=(True, 2))),
    "shape of texts": with_header(described(shape=("2",))),
    "too many dimensions": with_header(described(shape=(1,) * 100 + (2,))),
    "fortran order": with_header(described(fortran=True)),
    "object": with_header(described(descr="|O"), bytes(16)),
    "object inside": with_header(described(descr=[("a", "|O")]), bytes(16)),
    "no such type": with_header(described(descr="<q9")),
    "type without size": with_header(described(descr="|S0", shape=(10**12,)), b""),
    "extra key": with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}"),
    "not a dictionary": with_header("[1, 2]"),
    "unhashable key": with_header("{[]: 1}"),
    "unbalanced": with_header("("),
    "unbalanced deeply": with_header("(" * 5000),
    "nested deeply": with_header("-" * 5000 + "1"),
    "call": with_header("__import__('os').system('true')"),
    "Python 2": with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2L,)}"),
    "null byte": with_header("\0"),
    "pickle": b"\x80\x04\x95" + bytes(100),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_array_is_malformed(data: bytes) -> None:
    with pytest.raises(AdmissionError, match=r"^malformed$"):
        decoded(data)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_random_header_never_raises_anything_else(noise: bytes) -> None:
    for data in (noise, with_header(noise.decode("latin1")), with_header(described())[: len(noise)]):
        try:
            decoded(data)
        except AdmissionError as error:
            assert str(error) == "malformed"


def test_header_of_this_numpy_is_accepted() -> None:
    """The control: the hostile headers above fail by what they say, not by how they are built."""
    assert decoded(with_header(described())).tolist() == [0, 0]
    assert npy.MAGIC_PREFIX == b"\x93NUMPY"
