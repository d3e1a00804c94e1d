"""Malformed replies: in each round another one that no decoder may trust."""

from __future__ import annotations

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict

from common.seeds import numpy_generator
from common.wire.flower import (
    JSON_FIELD,
    MAX_STATISTICS_BYTES,
    RELEASES,
    SITE,
    STATISTICS,
    UPDATE,
    task_from_records,
)
from simulations.attacks.interface import Attack, Scene
from simulations.attacks.replies import has_update
from simulations.runtime import Handler


def without_records(reply: RecordDict) -> RecordDict:
    """Only the update: who sends it and how it was made is missing."""
    return RecordDict({UPDATE: reply[UPDATE]})


def wrong_types(reply: RecordDict) -> RecordDict:
    """The update is text and the site's name an array."""
    return RecordDict({**reply, UPDATE: ConfigRecord({JSON_FIELD: "{}"}), SITE: reply[UPDATE]})


def huge_text(reply: RecordDict) -> RecordDict:
    """Statistics longer than any site's, of brackets that a parser would follow to the depth of its stack."""
    return RecordDict({**reply, STATISTICS: ConfigRecord({JSON_FIELD: "[" * (MAX_STATISTICS_BYTES + 1)})})


def unknown_record(reply: RecordDict) -> RecordDict:
    """A record beside the update that nobody asked for."""
    return RecordDict({**reply, "patients": reply[UPDATE]})


def random_bytes(reply: RecordDict) -> RecordDict:
    """Arrays of the right name and length whose bytes mean nothing, header and all."""
    drawn = numpy_generator(0, "malformed")
    arrays = {
        name: Array(array.dtype, tuple(array.shape), array.stype, drawn.bytes(len(array.data)))
        for name, array in reply.array_records[UPDATE].items()
    }
    return RecordDict({**reply, UPDATE: ArrayRecord(arrays)})


def releases_of_another_kind(reply: RecordDict) -> RecordDict:
    """The list of releases is JSON, but no list of releases."""
    return RecordDict({**reply, RELEASES: ConfigRecord({JSON_FIELD: "[[null], {}]"})})


FORMS = (without_records, wrong_types, huge_text, unknown_record, random_bytes, releases_of_another_kind)
"""One a round, then again from the first."""


def malformed(honest: Handler, _: Scene) -> Handler:
    """A site whose replies are damaged, each round in another way."""

    def answer(message: Message, context: Context) -> Message | None:
        reply = honest(message, context)
        if reply is None or not has_update(reply):
            return reply
        form = FORMS[(task_from_records(message.content).round_number - 1) % len(FORMS)]
        return Message(form(reply.content), reply_to=message)

    return answer


ATTACK = Attack(wrap=malformed)
