"""The two messages of a round as Flower records, decoded with limits and without trust.

A task (server to site) holds the model and the round; a reply (site to server) holds the update, the statistics and
the list of releases. Arrays travel as Flower's own NumPy arrays, so that any Flower tool can read them; they are
decoded without a copy and never unpickled.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from numpy.lib import format as npy
from numpy.typing import NDArray

from common.errors import AdmissionError
from common.privacy.bands import middle_of
from common.privacy.events import SampledGaussian
from common.privacy.release import Mechanism, Release
from common.wire.update import ArrayPlan, NamedArrays

HELLO, MODEL, TASK = "hello", "model", "task"
UPDATE, STATISTICS, SITE, RELEASES = "update", "statistics", "site", "releases"
WIRE_VERSION = 1
MAX_STATISTICS_BYTES = 4 * 2**20


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the server asks of a site in one round.

    Attributes:
        round_number: From 1; the last round's model is measured in round `rounds + 1`.
        config_digest: Digest of the run's configuration; a site refuses another.
        train: Whether to train, or only to measure the model on held-out patients.
    """

    round_number: int
    config_digest: str
    train: bool


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a site answers.

    Attributes:
        site: The site's name.
        update: New minus old trained parameters; None when the task was only to measure.
        statistics: Retrieval statistics on held-out patients.
        releases: One for each record of the reply.
    """

    site: str
    update: NamedArrays | None
    statistics: dict[str, Any]
    releases: tuple[Release, ...]


def task_to_records(task: Task, model: ArrayRecord) -> RecordDict:
    """The task as Flower records; the model's record is shared by all sites of a round."""
    fields = {"round": task.round_number, "config-digest": task.config_digest, "train": task.train}
    return RecordDict({MODEL: model, TASK: ConfigRecord(fields)})


def task_from_records(records: RecordDict) -> Task:
    """The task in Flower records.

    Raises:
        AdmissionError: A field is missing.
    """
    try:
        fields = records.config_records[TASK]
        return Task(
            round_number=int(str(fields["round"])),
            config_digest=str(fields["config-digest"]),
            train=bool(fields["train"]),
        )
    except (KeyError, ValueError) as error:
        raise AdmissionError("the server's message is not a task of this version") from error


def hello_to_records() -> RecordDict:
    """The server's question who a node is."""
    return RecordDict({HELLO: ConfigRecord({"version": WIRE_VERSION})})


def hello_reply_to_records(site: str, patients_band: str) -> RecordDict:
    """A site's answer: its name and the band of its training patients, both public."""
    releases = [{"name": SITE, "mechanism": str(Mechanism.PUBLIC), "event": None}]
    return RecordDict(
        {
            SITE: ConfigRecord({"name": site, "patients-band": patients_band}),
            RELEASES: ConfigRecord({"json": json.dumps(releases)}),
        }
    )


def hello_from_records(records: RecordDict) -> tuple[str, str]:
    """A site's name and band.

    Raises:
        AdmissionError: The answer is malformed, or its band is none.
    """
    try:
        name, band = str(records.config_records[SITE]["name"]), str(records.config_records[SITE]["patients-band"])
    except KeyError as error:
        raise AdmissionError("malformed") from error
    middle_of(band)
    return name, band


def releases_of(records: RecordDict) -> tuple[Release, ...]:
    """The releases that a reply lists.

    Raises:
        AdmissionError: The list is missing or malformed.
    """
    try:
        return tuple(_release(value) for value in _json(records.config_records[RELEASES]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AdmissionError("malformed") from error


def reply_to_records(reply: Reply) -> RecordDict:
    """The reply as Flower records."""
    releases = [
        {"name": r.name, "mechanism": str(r.mechanism), "event": r.event.as_json() if r.event else None}
        for r in reply.releases
    ]
    records = RecordDict(
        {
            SITE: ConfigRecord({"name": reply.site}),
            STATISTICS: ConfigRecord({"json": json.dumps(reply.statistics)}),
            RELEASES: ConfigRecord({"json": json.dumps(releases)}),
        }
    )
    if reply.update is not None:
        records[UPDATE] = arrays_to_record(reply.update)
    return records


def reply_from_records(records: RecordDict, plan: ArrayPlan) -> Reply:
    """The reply in Flower records; nothing of the update is copied before it fits the plan.

    Raises:
        AdmissionError: With a reason code: `keys`, `shape`, `dtype`, `size` or `malformed`.
    """
    try:
        site = records.config_records[SITE]
        statistics = _json(records.config_records[STATISTICS])
        return Reply(
            site=str(site["name"]),
            update=_update(records.array_records[UPDATE], plan) if UPDATE in records else None,
            statistics=dict(statistics),
            releases=releases_of(records),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise AdmissionError("malformed") from error


def arrays_to_record(arrays: NamedArrays) -> ArrayRecord:
    """Named arrays as Flower's NumPy arrays, with one copy of the values."""
    return ArrayRecord({name: _to_array(value) for name, value in arrays.items()})


def arrays_from_record(record: ArrayRecord) -> NamedArrays:
    """Named arrays as read-only views of the record's bytes.

    Raises:
        AdmissionError: An array's bytes are not what its header says.
    """
    return {name: _from_array(array) for name, array in record.items()}


def _to_array(array: NDArray[Any]) -> Array:
    header = io.BytesIO()
    npy.write_array_header_1_0(header, npy.header_data_from_array_1_0(np.ascontiguousarray(array)))
    data = b"".join((header.getbuffer(), np.ascontiguousarray(array).reshape(-1).view(np.uint8).data))
    return Array(str(array.dtype), tuple(array.shape), "numpy.ndarray", data)


def _from_array(array: Array) -> NDArray[Any]:
    stream = io.BytesIO(array.data)  # shares the bytes until written to
    try:
        version = npy.read_magic(stream)
        shape, fortran_order, dtype = npy.read_array_header_1_0(stream)
    except ValueError as error:
        raise AdmissionError("malformed") from error
    size = len(array.data) - stream.tell()
    if version != (1, 0) or dtype.hasobject or fortran_order or size != dtype.itemsize * math.prod(shape):
        raise AdmissionError("malformed")
    return np.frombuffer(array.data, dtype=dtype, offset=stream.tell(), count=math.prod(shape)).reshape(shape)


def _update(record: ArrayRecord, plan: ArrayPlan) -> NamedArrays:
    if record.keys() != plan.arrays.keys():
        raise AdmissionError("keys")
    update = arrays_from_record(record)
    plan.check(update)
    return update


def _json(record: ConfigRecord) -> Any:  # noqa: ANN401 - any JSON value
    text = str(record["json"])
    if len(text) > MAX_STATISTICS_BYTES:
        raise AdmissionError("size")
    return json.loads(text)


def _release(value: Mapping[str, Any]) -> Release:
    event = value["event"]
    fields = {key: field for key, field in event.items() if key != "event"} if event else None
    return Release(
        name=value["name"],
        mechanism=Mechanism(value["mechanism"]),
        event=SampledGaussian(**fields) if fields else None,
    )
