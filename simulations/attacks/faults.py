"""Plain faults: a site that raises, falls silent, or sends what no rule may see."""

from __future__ import annotations

import numpy as np
from flwr.app import Context, Message, MessageType

from simulations.attacks.interface import Attack, Scene
from simulations.attacks.replies import Arrays, changing_update
from simulations.runtime import Handler


def one_number(value: float) -> Attack:
    """The attack that makes one number of the update another."""

    def change(update: Arrays, _: Scene) -> Arrays:
        first, *rest = update
        broken = update[first].copy()
        broken.flat[0] = value
        return {first: broken, **{name: update[name] for name in rest}}

    return Attack(wrap=changing_update(change))


def other_keys(update: Arrays, _: Scene) -> Arrays:
    """The arrays have other names."""
    return {f"{name}.other": array for name, array in update.items()}


def other_shape(update: Arrays, _: Scene) -> Arrays:
    """Every array has one row more."""
    return {name: np.concatenate([array, array[:1]]) for name, array in update.items()}


def silent(honest: Handler, _: Scene) -> Handler:
    """The site says who it is and then never answers again."""

    def answer(message: Message, context: Context) -> Message | None:
        return honest(message, context) if message.metadata.message_type == MessageType.QUERY else None

    return answer


def raising(honest: Handler, _: Scene) -> Handler:
    """Training raises, with a patient's name in the text."""

    def answer(message: Message, context: Context) -> Message | None:
        if message.metadata.message_type == MessageType.QUERY:
            return honest(message, context)
        raise RuntimeError("patient-name John Doe: study cannot be read")

    return answer


NONE = Attack()
NAN = one_number(np.nan)
INF = one_number(np.inf)
OTHER_KEYS = Attack(wrap=changing_update(other_keys))
OTHER_SHAPE = Attack(wrap=changing_update(other_shape))
SILENT = Attack(wrap=silent)
RAISE = Attack(wrap=raising)
