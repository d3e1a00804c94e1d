"""A message survives its way to the worker and back, and says nothing of an error but a reason."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.app.message import make_message
from flwr.app.metadata import Metadata
from flwr.proto.message_pb2 import Message as ProtoMessage
from hypothesis import given
from hypothesis import strategies as st

from client.deploy.message_bytes import (
    REASONS,
    decode_message,
    decode_request,
    encode_message,
    encode_request,
    error_reply,
    without_text,
)
from common.errors import AdmissionError, WardroundError

HASH = "ab" * 32
keys = st.text(min_size=1, max_size=8)
arrays = st.lists(st.floats(width=32), max_size=5).map(lambda values: Array(np.array(values, dtype=np.float32)))
int64 = st.integers(-(2**63), 2**63 - 1)
scalars = st.one_of(int64, st.floats(allow_nan=False))
records = st.one_of(
    st.dictionaries(keys, arrays, max_size=3).map(ArrayRecord),
    st.dictionaries(keys, scalars, max_size=3).map(MetricRecord),
    st.dictionaries(
        keys, st.one_of(scalars, st.booleans(), st.text(), st.binary(), st.lists(st.text(), min_size=1)), max_size=3
    ).map(ConfigRecord),
)
contents = st.dictionaries(keys, records, max_size=3).map(RecordDict)
uint64 = st.integers(0, 2**64 - 1)


def message_of(content: RecordDict, *, run_id: int = 7, node_id: int = 9, task_id: int | None = 3) -> Message:
    """A message as a SuperNode gets it."""
    metadata = Metadata(
        run_id=run_id,
        message_id="",
        src_node_id=1,
        dst_node_id=node_id,
        reply_to_message_id="",
        group_id="4",
        created_at=1.5,
        ttl=60.25,
        message_type="train",
        src_task_id=task_id,
    )
    message = make_message(metadata=metadata, content=content)
    metadata.__dict__["_message_id"] = message.object_id
    return message


@given(content=contents, run_id=uint64, node_id=uint64, bundle_hash=st.binary(min_size=32, max_size=32))
def test_request_survives_its_way(content: RecordDict, run_id: int, node_id: int, bundle_hash: bytes) -> None:
    message = message_of(content, run_id=run_id, node_id=node_id)
    decoded_hash, decoded = decode_request(encode_request(bundle_hash.hex(), message))
    assert decoded_hash == bundle_hash.hex()
    assert vars(decoded.metadata) == vars(message.metadata)
    assert decoded.object_id == message.object_id  # Flower's digest of all that is in it


@given(asked=contents, told=contents)
def test_reply_made_from_decoded_message_answers_the_encoded_one(asked: RecordDict, told: RecordDict) -> None:
    message = message_of(asked)
    _, decoded = decode_request(encode_request(HASH, message))
    reply = decode_message(encode_message(Message(told, reply_to=decoded)))
    assert reply.metadata.reply_to_message_id == message.object_id
    assert (reply.metadata.run_id, reply.metadata.src_node_id, reply.metadata.dst_node_id) == (7, 9, 1)
    assert reply.metadata.dst_task_id == 3
    assert reply.content.object_id == told.object_id


def test_reply_needs_no_task_identity_of_its_process() -> None:
    code = f"""
from client.deploy.message_bytes import decode_request, encode_message
from flwr.app import Message, RecordDict
_, message = decode_request(bytes.fromhex({encode_request(HASH, message_of(RecordDict())).hex()!r}))
print(len(encode_message(Message(RecordDict(), reply_to=message))) > 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@given(content=st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused(content: bytes) -> None:
    try:
        decode_message(content)
    except AdmissionError:
        return
    assert content  # what is read as a message was not nothing


def test_message_cut_short_is_refused() -> None:
    content = encode_request(HASH, message_of(RecordDict({"arrays": ArrayRecord([np.ones(40)])})))
    for end in (0, 31, 40, len(content) - 1):
        with pytest.raises(AdmissionError):
            decode_request(content[:end])


@pytest.mark.parametrize("fields", [(), ("content", "error")])
def test_message_of_neither_content_nor_error_or_both_is_refused(fields: tuple[str, ...]) -> None:
    proto = ProtoMessage.FromString(encode_message(message_of(RecordDict())))
    proto.ClearField("content")
    for field in fields:
        getattr(proto, field).SetInParent()
    with pytest.raises(AdmissionError):
        decode_message(proto.SerializeToString())


@given(reason=st.text())
def test_error_reply_says_known_words_alone(reason: str) -> None:
    told = error_reply(message_of(RecordDict()), reason).error.reason
    assert told == (reason if reason in REASONS else "raised")


def test_error_of_the_worker_loses_its_text() -> None:
    message = message_of(RecordDict())
    hostile = Message(Error(2, "<class 'ValueError'>:<'patient-name John Doe'>"), reply_to=message)
    assert without_text(hostile, message).error == Error(1, "raised")


def test_reply_with_content_passes_as_it_is() -> None:
    message = message_of(RecordDict())
    reply = Message(RecordDict(), reply_to=message)
    assert without_text(reply, message) is reply


def test_reasons_are_those_of_errors_that_a_site_can_raise() -> None:
    def tree(kind: type[WardroundError]) -> set[str]:
        # Whatever else runs in this process may have loaded the server's own errors, and those of an import from an
        # archive: no site can raise them in a run.
        own = [below for below in kind.__subclasses__() if not below.__module__.startswith(("server.", "client.pacs."))]
        return {kind.reason}.union(*map(tree, own))

    outside_a_run = {"check_failed", "aggregation", "checkpoint", "cannot_tell", "plan"}
    assert tree(WardroundError) - outside_a_run <= REASONS
