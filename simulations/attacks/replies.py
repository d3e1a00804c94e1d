"""How an attack changes the update in an otherwise honest reply.

Shapes: P parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from flwr.app import Context, Message
from numpy.typing import NDArray
from torch import Tensor

from common.wire.flower import UPDATE
from common.wire.flower_arrays import arrays_from_record, arrays_to_record
from common.wire.update import ArrayPlan
from simulations.attacks.interface import Scene, Wrap
from simulations.runtime import Handler

Arrays = Mapping[str, NDArray[Any]]


def changing_update(change: Callable[[Arrays, Scene], Arrays]) -> Wrap:
    """A site that answers honestly but for its update."""

    def wrap(honest: Handler, scene: Scene) -> Handler:
        def answer(message: Message, context: Context) -> Message | None:
            reply = honest(message, context)
            if reply is not None and has_update(reply):
                update = arrays_from_record(reply.content.array_records[UPDATE])
                reply.content[UPDATE] = arrays_to_record(change(update, scene))
            return reply

        return answer

    return wrap


def has_update(reply: Message) -> bool:
    """Whether a reply holds an update: it is no refusal, and the task was to train."""
    return reply.has_content() and UPDATE in reply.content


def as_vector(update: Arrays) -> Tensor:
    """A copy of an update as one vector `[P]`, float32."""
    plan = ArrayPlan.of(update)
    vector = np.empty(plan.num_values, dtype=np.float32)
    plan.write_flat(update, vector)
    return torch.from_numpy(vector)


def as_arrays(update_P: Tensor, like: Arrays) -> Arrays:
    """A vector as the arrays of another update."""
    return ArrayPlan.of(like).unflatten(update_P.numpy())
