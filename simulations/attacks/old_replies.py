"""Old replies: a site that sends again what it sent in the round before.

What it remembers lies in Flower's state of its node, so that it is remembered whatever calls the site.
"""

from __future__ import annotations

from flwr.app import Context, Message, RecordDict

from common.wire.flower import UPDATE
from simulations.attacks.interface import Attack, Scene
from simulations.attacks.replies import has_update
from simulations.runtime import Handler


def stale(honest: Handler, _: Scene) -> Handler:
    """The whole reply of the round before, which says of itself that it is; the first round's is honest."""

    def answer(message: Message, context: Context) -> Message | None:
        reply = honest(message, context)
        if reply is None or not has_update(reply):
            return reply
        old = _exchange(context, reply.content)
        return Message(old or reply.content, reply_to=message)

    return answer


def replayed(honest: Handler, _: Scene) -> Handler:
    """This round's reply around the update of the round before; the first round's is honest."""

    def answer(message: Message, context: Context) -> Message | None:
        reply = honest(message, context)
        if reply is None or not has_update(reply):
            return reply
        old = _exchange(context, RecordDict({UPDATE: reply.content[UPDATE]}))
        reply.content.update(old)
        return reply

    return answer


def _exchange(context: Context, records: RecordDict) -> RecordDict:
    """Remember these records in place of the ones that are returned."""
    old = RecordDict(dict(context.state))
    context.state = RecordDict(dict(records))
    return old


STALE = Attack(wrap=stale)
REPLAYED = Attack(wrap=replayed)
