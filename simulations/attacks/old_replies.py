"""Old replies: a site that is a round late, and one that sends an update twice.

What it remembers lies in Flower's state of its node, so that it is remembered whatever calls the site.
"""

from __future__ import annotations

from flwr.app import Context, Message, RecordDict

from common.wire.flower import UPDATE
from simulations.attacks.interface import Attack, Scene
from simulations.attacks.replies import has_update
from simulations.runtime import Handler


def stale(honest: Handler, _: Scene) -> Handler:
    """The whole reply to the round before, which says of itself that it is; the first round's is honest."""

    def answer(message: Message, context: Context) -> Message | None:
        reply = honest(message, context)
        if reply is None or not has_update(reply):
            return reply
        sent = context.state or reply.content
        context.state = RecordDict(dict(reply.content))
        return Message(sent, reply_to=message)

    return answer


def replayed(honest: Handler, _: Scene) -> Handler:
    """This round's reply around the update that was sent in the round before: the first, again and again."""

    def answer(message: Message, context: Context) -> Message | None:
        reply = honest(message, context)
        if reply is None or not has_update(reply):
            return reply
        if context.state:
            reply.content[UPDATE] = context.state[UPDATE]
        context.state = RecordDict({UPDATE: reply.content[UPDATE]})
        return reply

    return answer


STALE = Attack(wrap=stale)
REPLAYED = Attack(wrap=replayed)
