"""How an attack changes the update in an otherwise honest reply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flwr.app import Context, Message
from numpy.typing import NDArray

from common.wire.flower import UPDATE, arrays_from_record, arrays_to_record
from simulations.runtime import Handler

Arrays = Mapping[str, NDArray[Any]]


def changing_update(honest: Handler, change: Callable[[Arrays], Arrays]) -> Handler:
    """A site that answers honestly but for its update."""

    def answer(message: Message, context: Context) -> Message | None:
        reply = honest(message, context)
        if reply is not None and reply.has_content() and UPDATE in reply.content:
            update = arrays_from_record(reply.content.array_records[UPDATE])
            reply.content[UPDATE] = arrays_to_record(change(update))
        return reply

    return answer
