"""Messages as Flower records: they round-trip, and what is malformed is refused with its reason."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

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
    hello_from_records,
    hello_reply_to_records,
    releases_of,
    releases_to_record,
    reply_from_records,
    reply_to_records,
    task_from_records,
    task_to_records,
)
from common.wire.flower_arrays import arrays_to_record
from common.wire.update import ArrayPlan, arrays_digest

EVENT = SampledGaussian(noise_multiplier=1.5, sampling_probability=0.25, steps=5)
UPDATE_ARRAYS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros((), dtype=np.float32)}
PLAN = ArrayPlan.of(UPDATE_ARRAYS)
RUN = "ab" * 32


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
    assert arrays_digest(found.update) == arrays_digest(UPDATE_ARRAYS)


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
