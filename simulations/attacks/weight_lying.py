"""Weight lying: a site that claims to be the largest there can be, so that its harmful update counts for most.

Only the server's cap on weights and its aggregation rule stand against it: the reply is otherwise in order, and states
the privacy event that a site of the claimed size would spend.
"""

from __future__ import annotations

from dataclasses import replace

from flwr.app import Context, Message, MessageType

from common.privacy.bands import MOST_PATIENTS, band_of
from common.privacy.plan import privacy_plan
from common.wire.flower import BAND_FIELD, RELEASES, SITE, UPDATE, releases_of, releases_to_record
from simulations.attacks.interface import Attack, Scene
from simulations.attacks.replies import changing_update, has_update
from simulations.attacks.sign_flip import sign_flip
from simulations.runtime import Handler

CLAIMED_BAND = band_of(MOST_PATIENTS - 1)


def lying(honest: Handler, scene: Scene) -> Handler:
    """A site that claims the largest band and sends a long update the other way."""
    harmful = changing_update(sign_flip)(honest, scene)

    def answer(message: Message, context: Context) -> Message | None:
        reply = harmful(message, context)
        if reply is None or not reply.has_content():
            return reply
        if message.metadata.message_type == MessageType.QUERY:
            reply.content.config_records[SITE][BAND_FIELD] = CLAIMED_BAND
        elif has_update(reply):
            _state_claimed_event(reply, scene)
        return reply

    return answer


def _state_claimed_event(reply: Message, scene: Scene) -> None:
    plan = privacy_plan(scene.config, CLAIMED_BAND)
    stated = [
        replace(release, event=plan.event) if plan and release.name == UPDATE else release
        for release in releases_of(reply.content)
    ]
    reply.content[RELEASES] = releases_to_record(stated)


ATTACK = Attack(wrap=lying)
