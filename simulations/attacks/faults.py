"""Plain faults: a site that raises, falls silent, or sends what no rule may see."""

from __future__ import annotations

import numpy as np
from flwr.app import Context, Message, MessageType

from simulations.attacks.replies import Arrays, changing_update
from simulations.runtime import Handler


def none(honest: Handler) -> Handler:
    """The honest site."""
    return honest


def nan(honest: Handler) -> Handler:
    """One number of the update is NaN."""

    def change(update: Arrays) -> Arrays:
        first, *rest = update
        broken = update[first].copy()
        broken.flat[0] = np.nan
        return {first: broken, **{name: update[name] for name in rest}}

    return changing_update(honest, change)


def other_keys(honest: Handler) -> Handler:
    """The arrays have other names."""
    return changing_update(honest, lambda update: {f"{name}.other": array for name, array in update.items()})


def other_shape(honest: Handler) -> Handler:
    """Every array has one row more."""
    return changing_update(
        honest, lambda update: {name: np.concatenate([array, array[:1]]) for name, array in update.items()}
    )


def silent(honest: Handler) -> Handler:
    """The site says who it is and then never answers again."""

    def answer(message: Message, context: Context) -> Message | None:
        return honest(message, context) if message.metadata.message_type == MessageType.QUERY else None

    return answer


def raising(honest: Handler) -> Handler:
    """Training raises, with a patient's name in the text."""

    def answer(message: Message, context: Context) -> Message | None:
        if message.metadata.message_type == MessageType.QUERY:
            return honest(message, context)
        raise RuntimeError("patient-name John Doe: study cannot be read")

    return answer
