"""A message between the relay and the worker as bytes, and the only words that an error reply may hold.

request  32 bytes: SHA-256 of the bundle's app; then Flower's Message as protobuf
reply    Flower's Message as protobuf

Both have their own identity inside (run, nodes, message ids), so that a reply made from a decoded message answers the
message that was encoded. Protobuf holds at most 2 GiB.
"""

from __future__ import annotations

from flwr.app import Error, Message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage

from common.errors import AdmissionError
from common.wire.preparing import preparing_of

REASONS = frozenset(
    {
        "accounting",
        "budget",
        "bundle",
        "cohort_small",
        "config",
        "context_reused",
        "data",
        "evidence",
        "failed",
        "ledger",
        "malformed",
        "pair_key",
        "policy",
        "raised",
        "replayed",
        "stale",
        "trust",
        "worker",
    }
)
"""All that a site ever says of an error, but for how far it is with preparing its studies (`common/wire/preparing.py`).

Whatever else a reply gives as its reason leaves as `raised`.
"""

RAISED = "raised"
"""The reason of an error that nobody foresaw."""

WORKER = "worker"
"""The reason of a reply for a worker that died, did not start or did not answer in time."""

_CODE = 1
_HASH_BYTES = 32


def encode_request(bundle_hash: str, message: Message) -> bytes:
    """What the relay sends to the worker.

    Args:
        bundle_hash: SHA-256 in hexadecimal.
        message: What the server asks.
    """
    return bytes.fromhex(bundle_hash) + encode_message(message)


def decode_request(content: bytes) -> tuple[str, Message]:
    """The bundle's hash, in hexadecimal, and the message.

    Raises:
        AdmissionError: The bytes are none.
    """
    if len(content) < _HASH_BYTES:
        raise AdmissionError("a request to the worker is shorter than a hash")
    return content[:_HASH_BYTES].hex(), decode_message(memoryview(content)[_HASH_BYTES:])


def encode_message(message: Message) -> bytes:
    """A message with its content."""
    content: bytes = message_to_proto(message).SerializeToString()
    return content


def decode_message(content: bytes | memoryview) -> Message:
    """The message in bytes.

    Raises:
        AdmissionError: The bytes are none.
    """
    proto = ProtoMessage()
    try:
        proto.ParseFromString(content)
        return message_from_proto(proto)
    except Exception as error:
        # Flower's readers raise what the bytes happen to provoke.
        raise AdmissionError(f"bytes are no message ({type(error).__name__})") from error


def error_reply(message: Message, reason: str) -> Message:
    """A reply that says nothing but a reason of `REASONS`, or how far the site is with preparing."""
    is_known = reason in REASONS or preparing_of(reason) is not None
    return Message(Error(_CODE, reason if is_known else RAISED), reply_to=message)


def without_text(reply: Message, message: Message) -> Message:
    """The reply, or where it is an error, one that says nothing but its reason."""
    return error_reply(message, reply.error.reason or RAISED) if reply.has_error() else reply
