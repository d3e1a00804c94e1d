"""A site's ClientApp that answers what a test expects, and attacks around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import Context, Message, MessageType, RecordDict

from common.config.load import load_config
from common.privacy.release import Mechanism, Release
from common.wire.flower import (
    UPDATE,
    Hello,
    Reply,
    Task,
    hello_reply_to_records,
    hello_to_records,
    reply_to_records,
    task_from_records,
    task_to_records,
)
from common.wire.flower_arrays import arrays_from_record, arrays_to_record
from simulations.attacks.interface import Scene
from simulations.attacks.registry import ATTACKS
from simulations.runtime import Handler

HONEST = {
    "weight": np.array([[1.0, -2.0], [3.0, 4.0]], dtype=np.float32),
    "bias": np.array([0.5], dtype=np.float32),
}


def update_of(round_number: int) -> dict[str, Any]:
    """Another update in each round."""
    return {name: round_number * array for name, array in HONEST.items()}


def honest(message: Message, _: Context) -> Message:
    """The site "north": 16 to 31 patients, an update a round."""
    if message.metadata.message_type == MessageType.QUERY:
        return Message(hello_reply_to_records(Hello(site="north", patients_band="16-31")), reply_to=message)
    number = task_from_records(message.content).round_number
    releases = (Release(name=UPDATE, mechanism=Mechanism.NOT_PRIVATE),)
    reply = Reply(
        site="north",
        round_number=number,
        run="digest",
        update=update_of(number),
        statistics={"round": number},
        releases=releases,
    )
    return Message(reply_to_records(reply), reply_to=message)


def question(kind: str, round_number: int = 1, *, ttl: float = 30.0) -> Message:
    """A message as the server sends it."""
    task = Task(round_number=round_number, config_digest="digest", train=True)
    content = (
        hello_to_records() if kind == MessageType.QUERY else task_to_records(task, arrays_to_record({"w": np.zeros(1)}))
    )
    message = Message(content, 2, kind, ttl=ttl)
    message.metadata.__dict__["_message_id"] = "1"
    return message


def scene(*overrides: str) -> Scene:
    """Two attackers among ten sites."""
    return Scene(config=load_config(["privacy.epsilon=null", *overrides]), num_sites=10, num_attackers=2)


class Attacker:
    """One attacker's node, asked round after round; its state stays.

    Args:
        name: The attack.
        *overrides: Of the run's config.
        around: Its honest ClientApp.
    """

    def __init__(self, name: str, *overrides: str, around: Handler = honest) -> None:
        wrap = ATTACKS.load(name).wrap
        self._handler = around if wrap is None else wrap(around, scene(*overrides))
        self._context = Context(0, 2, {}, RecordDict(), {})

    def ask(self, round_number: int = 1, *, kind: str = MessageType.TRAIN) -> Message | None:
        """Its answer."""
        return self._handler(question(kind, round_number), self._context)

    def content(self, round_number: int = 1, *, kind: str = MessageType.TRAIN) -> RecordDict:
        """What it sends."""
        reply = self.ask(round_number, kind=kind)
        if reply is None:
            raise ValueError("nothing was sent")
        return reply.content

    def update(self, round_number: int = 1) -> dict[str, Any]:
        """The update that it sends."""
        return dict(arrays_from_record(self.content(round_number).array_records[UPDATE]))
