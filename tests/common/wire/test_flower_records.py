"""Messages as Flower records: they round-trip, Flower reads them, and no hostile bytes raise anything but admission."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.lib import format as npy
from numpy.typing import NDArray

from common.errors import AdmissionError
from common.privacy.events import SampledGaussian
from common.privacy.release import Mechanism, Release
from common.wire.flower import (
    MAX_STATISTICS_BYTES,
    RELEASES,
    SITE,
    STATISTICS,
    TASK,
    UPDATE,
    Hello,
    Reply,
    Task,
    arrays_from_record,
    arrays_to_record,
    hello_from_records,
    hello_reply_to_records,
    releases_of,
    releases_to_record,
    reply_from_records,
    reply_to_records,
    task_from_records,
    task_to_records,
)
from common.wire.update import ArrayPlan

DTYPES = st.sampled_from(["float32", "float64", "float16", "int64", "uint8", "bool", ">f4"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
EVENT = SampledGaussian(noise_multiplier=1.5, sampling_probability=0.25, steps=5)
UPDATE_ARRAYS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros((), dtype=np.float32)}
PLAN = ArrayPlan.of(UPDATE_ARRAYS)
RUN = "ab" * 32


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


# Arrays


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


# Task and hello


def test_task_round_trips() -> None:
    for train in (True, False):
        task = Task(round_number=3, config_digest="ab" * 32, train=train)
        assert task_from_records(task_to_records(task, arrays_to_record({}))) == task


@pytest.mark.parametrize(
    "records",
    [
        RecordDict(),
        RecordDict({TASK: ConfigRecord({"round": 1, "train": True})}),
        RecordDict({TASK: ConfigRecord({"round": "one", "config-digest": "", "train": True})}),
        RecordDict({TASK: ArrayRecord()}),
    ],
)
def test_task_malformed_is_refused(records: RecordDict) -> None:
    with pytest.raises(AdmissionError, match="not a task"):
        task_from_records(records)


def test_hello_round_trips_and_lists_its_release() -> None:
    records = hello_reply_to_records(Hello(site="north", patients_band="16-31"))
    assert hello_from_records(records) == Hello(site="north", patients_band="16-31")
    assert releases_of(records) == (Release(name=SITE, mechanism=Mechanism.PUBLIC),)


@pytest.mark.parametrize("band", ["17", "17-31", "16-31 patients", ""])
def test_hello_with_a_number_instead_of_a_band_is_refused(band: str) -> None:
    with pytest.raises(AdmissionError, match=r"^band$"):
        hello_from_records(hello_reply_to_records(Hello(site="north", patients_band=band)))


# Reply

RELEASE = st.builds(
    Release,
    name=st.text(max_size=10),
    mechanism=st.sampled_from(Mechanism),
    event=st.none()
    | st.builds(
        SampledGaussian,
        noise_multiplier=st.floats(0, 100),
        sampling_probability=st.floats(0, 1),
        steps=st.integers(0, 10**6),
    ),
)


@given(st.lists(RELEASE, max_size=4))
def test_releases_round_trip(releases: list[Release]) -> None:
    assert releases_of(RecordDict({RELEASES: releases_to_record(releases)})) == tuple(releases)


def reply(**changes: object) -> RecordDict:
    listed = (Release(name=UPDATE, mechanism=Mechanism.PATIENT_DP_SGD, event=EVENT),)
    records = reply_to_records(
        Reply(
            site="north",
            round_number=3,
            run=RUN,
            update=UPDATE_ARRAYS,
            statistics={"brief": {"recall_at_10": 0.5}},
            releases=listed,
        )
    )
    for name, record in changes.items():
        records[name] = record
    return records


def test_reply_round_trips() -> None:
    found = reply_from_records(reply(), PLAN)
    assert (found.round_number, found.run) == (3, RUN)
    assert (found.site, found.statistics) == ("north", {"brief": {"recall_at_10": 0.5}})
    assert found.releases == (Release(name=UPDATE, mechanism=Mechanism.PATIENT_DP_SGD, event=EVENT),)
    assert found.update is not None
    assert all(same(found.update[name], value) for name, value in UPDATE_ARRAYS.items())


def test_reply_without_update_round_trips() -> None:
    nothing = Reply(site="north", round_number=1, run=RUN, update=None, statistics={}, releases=())
    records = reply_to_records(nothing)
    assert reply_from_records(records, PLAN).update is None


def text(value: str) -> ConfigRecord:
    return ConfigRecord({"json": value})


def site(**changes: object) -> ConfigRecord:
    return ConfigRecord({"name": "north", "round": 3, "run": RUN, "ledger-head": ""} | changes)


def padded(num_bytes: int) -> ArrayRecord:
    """The update, with so many bytes more after the values of one array."""
    record = arrays_to_record(UPDATE_ARRAYS)
    record["w"].data += bytes(num_bytes)
    return record


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({UPDATE: arrays_to_record({"w": UPDATE_ARRAYS["w"]})}, "keys"),
        ({UPDATE: arrays_to_record(UPDATE_ARRAYS | {"z": np.zeros(1)})}, "keys"),
        ({UPDATE: arrays_to_record(UPDATE_ARRAYS | {"b": np.zeros(1, dtype=np.float32)})}, "shape"),
        ({UPDATE: arrays_to_record(UPDATE_ARRAYS | {"b": np.zeros(())})}, "dtype"),
        ({UPDATE: arrays_to_record(UPDATE_ARRAYS | {"w": UPDATE_ARRAYS["w"].astype(np.float16)})}, "dtype"),
        ({UPDATE: arrays_to_record(UPDATE_ARRAYS | {"b": np.zeros((), dtype=np.complex64)})}, "dtype"),
        ({UPDATE: arrays_to_record(UPDATE_ARRAYS | {"b": np.zeros((), dtype=np.int32)})}, "dtype"),
        ({UPDATE: arrays_to_record(UPDATE_ARRAYS | {"w": np.zeros((100, 100), dtype=np.float32)})}, "size"),
        ({UPDATE: padded(1)}, "malformed"),
        ({UPDATE: padded(10_000)}, "size"),
        ({UPDATE: ConfigRecord()}, "malformed"),
        ({"extra": ConfigRecord()}, "keys"),
        ({"update2": arrays_to_record(UPDATE_ARRAYS)}, "keys"),
        ({SITE: site(note="x" * (MAX_STATISTICS_BYTES + 1))}, "size"),
        ({SITE: site(note=[b"x" * MAX_STATISTICS_BYTES, b"x"])}, "size"),
        ({SITE: site(round="3")}, "malformed"),
        ({SITE: site(round=3.0)}, "malformed"),
        ({SITE: site(round=True)}, "malformed"),
        ({SITE: site(run=7)}, "malformed"),
        ({SITE: site(name=["north"])}, "malformed"),
        ({SITE: ConfigRecord({"name": "north", "run": RUN})}, "malformed"),
        ({SITE: ConfigRecord({"name": "north", "round": 3})}, "malformed"),
        ({STATISTICS: ConfigRecord({"json": b"{}"})}, "malformed"),
        ({SITE: ConfigRecord()}, "malformed"),
        ({STATISTICS: ConfigRecord()}, "malformed"),
        ({STATISTICS: text("{")}, "malformed"),
        ({STATISTICS: text("3")}, "malformed"),
        ({STATISTICS: text("[" * 100_000)}, "malformed"),
        ({STATISTICS: text(json.dumps(" " * MAX_STATISTICS_BYTES))}, "size"),
        ({RELEASES: text("[" * 100_000)}, "malformed"),
        ({RELEASES: text(" " * (MAX_STATISTICS_BYTES + 1))}, "size"),
        ({RELEASES: ConfigRecord()}, "malformed"),
        ({RELEASES: text("5")}, "malformed"),
        ({RELEASES: text("[5]")}, "malformed"),
        ({RELEASES: text("[{}]")}, "malformed"),
        ({RELEASES: text('[{"name": "a", "mechanism": "magic", "event": null}]')}, "malformed"),
        ({RELEASES: text('[{"name": "a", "mechanism": "public", "event": 5}]')}, "malformed"),
        ({RELEASES: text('[{"name": "a", "mechanism": "public", "event": {"noise": 5}}]')}, "malformed"),
    ],
)
def test_reply_malformed_is_refused_with_the_reason(changes: dict[str, ConfigRecord], reason: str) -> None:
    with pytest.raises(AdmissionError, match=rf"^{reason}$"):
        reply_from_records(reply(**changes), PLAN)


def test_reply_may_tell_no_statistics() -> None:
    records = reply()
    del records[STATISTICS]
    assert reply_from_records(records, PLAN).statistics is None


@pytest.mark.parametrize("name", [SITE, RELEASES])
def test_reply_without_a_record_is_malformed(name: str) -> None:
    records = reply()
    del records[name]
    with pytest.raises(AdmissionError, match=r"^malformed$"):
        reply_from_records(records, PLAN)


def test_reply_of_non_finite_numbers_is_left_to_admission() -> None:
    """The wire checks form; `server/admission.py` checks values."""
    bad = {name: np.full_like(value, math.nan) for name, value in UPDATE_ARRAYS.items()}
    assert reply_from_records(reply(update=arrays_to_record(bad)), PLAN).update is not None
