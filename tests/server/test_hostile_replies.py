"""Whatever records a site sends, every round ends, the others count, and of the site there is a reason code."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from common.config.load import config_digest
from common.wire.flower import RELEASES, SITE, STATISTICS, UPDATE, Reply, Task, reply_to_records
from common.wire.flower_arrays import arrays_to_record
from common.wire.update import ArrayPlan
from server.checkpoint import load_state

WEIGHT = "towers.weight"
REASONS = {"malformed", "size", "keys", "shape", "dtype", "mechanism", "nan", "norm", "round", "replay", "identity"}

Change = Callable[[RecordDict], RecordDict]

NAMES = st.sampled_from([SITE, RELEASES, STATISTICS, UPDATE, "arrays", ""]) | st.text(max_size=5)
FIELDS = st.sampled_from(["name", "json", "round", "run", "ledger-head", "patients-band"]) | st.text(max_size=5)
SCALARS = st.integers(-(2**63), 2**63 - 1) | st.floats() | st.booleans() | st.text(max_size=20) | st.binary(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
).map(json.dumps)
VALUES = SCALARS | JSON | st.lists(st.text(max_size=3), max_size=3) | st.lists(st.floats(), max_size=3)
NUMBERS = arrays_of.arrays(
    st.sampled_from(["<f4", ">f4", "<f8", "<f2", "<c8", "<i8", "|b1"]),
    st.just((2, 3)) | arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@st.composite
def headed(draw: st.DrawFn) -> bytes:
    """Bytes in NumPy's form whose header says what it likes."""
    descr = draw(st.sampled_from(["<f4", "|O", "<f2", "|S0", "<M8[s]", "<q9"]) | st.text(max_size=4))
    shape = draw(st.sampled_from([(2, 3), (-2, -3), (10**30,), (0,), (2**62, 4)]) | st.just("()"))
    text = repr({"descr": descr, "fortran_order": draw(st.booleans()), "shape": shape}) + draw(st.text(max_size=9))
    header = text.encode("utf-8")
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + draw(st.binary(max_size=30))


ARRAYS = NUMBERS.map(lambda values: arrays_to_record({"x": values})["x"]) | st.builds(
    Array,
    st.sampled_from(["float32", "object", ""]),
    st.just((2, 3)),
    st.sampled_from(["numpy.ndarray", "pickle"]),
    st.binary(max_size=60) | headed(),
)
RECORDS = (
    st.dictionaries(FIELDS, VALUES, max_size=4).map(ConfigRecord)
    | st.dictionaries(FIELDS, st.floats() | st.integers(0, 9), max_size=3).map(MetricRecord)
    | st.dictionaries(st.just(WEIGHT) | st.text(max_size=5), ARRAYS, max_size=3).map(ArrayRecord)
)


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """Something done to an honest reply: records put in, taken out, or one field or array of one changed."""
    put = draw(st.dictionaries(NAMES, RECORDS, max_size=2))
    gone = draw(st.sets(NAMES, max_size=1))
    fields = draw(st.dictionaries(st.sampled_from([SITE, RELEASES, STATISTICS]), st.tuples(FIELDS, VALUES), max_size=1))
    array = draw(st.none() | ARRAYS)

    def change(records: RecordDict) -> RecordDict:
        for name, (field, value) in fields.items():
            records.config_records[name][field] = value
        if array is not None:
            records.array_records[UPDATE][WEIGHT] = array
        for name, record in put.items():
            records[name] = record
        for name in gone & set(records):
            del records[name]
        return records

    return change


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(change=changes())
def test_hostile_reply_costs_its_own_place_at_most(world: Any, change: Change) -> None:
    options = ("federation.rounds=1",)

    def fault(reply: Reply, _: Task) -> RecordDict:
        return change(reply_to_records(reply))

    state = world.run(world.transport(faults={"south": fault}), *options)
    (record,) = state.rounds
    assert record["outcome"] == "updated"
    assert record["admitted"] == sorted(set(world.bands) - set(record["dropped"]))
    assert set(record["dropped"]) <= {"south"}
    assert set(record["dropped"].values()) <= REASONS
    assert all(np.isfinite(array).all() for array in state.arrays["model"].values())
    json.dumps([state.rounds, state.start, state.latest], allow_nan=False, ensure_ascii=False).encode()
    load_state(world.folder, config_digest=config_digest(world.config(*options)))


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("json", "[" * 10**6, "malformed"),
        ("json", "9" * 10**5, "malformed"),
        ("json", " " * (4 * 2**20 + 1), "size"),
        ("json", '{"brief": {"recall_at_10": NaN, "codes_recall_at_10": 0}}', "malformed"),
        ("json", '{"brief": {"recall_at_10": 1e999, "codes_recall_at_10": 0}}', "malformed"),
        ("note", [math.nan] * 2**20, "size"),
    ],
)
def test_hostile_text_is_refused_before_it_can_cost_anything(world: Any, field: str, value: Any, reason: str) -> None:
    def fault(reply: Reply, _: Task) -> RecordDict:
        records = reply_to_records(reply)
        records.config_records[STATISTICS][field] = value
        return records

    state = world.run(world.transport(faults={"south": fault}), "federation.rounds=1")
    assert state.sites["south"].drops == {reason: 1}


def test_fuzz_is_not_all_one_refusal(world: Any) -> None:
    """The control of the fuzz: its replies fail in several ways, and some are read."""
    plan = ArrayPlan.of({WEIGHT: world.fresh_state(world.config()).arrays["model"][WEIGHT]})
    task = Task(round_number=1, config_digest="ab" * 32, train=True)
    seen: Counter[str] = Counter()

    @settings(max_examples=400, deadline=None, derandomize=True, database=None)
    @given(change=changes())
    def send(change: Change) -> None:
        transport = world.transport(faults={"south": lambda reply, _: change(reply_to_records(reply))})
        (answer,) = transport.ask(task, {}, plan, sites=("south",), deadline_seconds=1.0)
        seen[answer.problem or "read"] += 1

    send()
    assert seen.keys() >= {"malformed", "keys", "dtype", "shape", "read"}
    assert max(seen.values()) < 0.8 * seen.total()
