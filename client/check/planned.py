"""What a run will train and spend at a site, known from its configuration before any study is learned from."""

from __future__ import annotations

from dataclasses import dataclass

from common.config.schema import RunConfig
from common.encoders.dual import trainable_names
from common.encoders.public_fit import fresh_model, split_frozen
from common.encoders.registry import ENCODERS
from common.ledger.entries import HELD_OUT, TRAINING
from common.privacy.events import Event
from common.privacy.held_out import group_noise_of, noise_of
from common.privacy.plan import PrivacyPlan
from common.wire.update import ArrayPlan, model_arrays


@dataclass(frozen=True, kw_only=True)
class PlannedArrays:
    """Names, shapes and types of the arrays that cross the line in a round.

    Attributes:
        model: What the server sends.
        update: What is sent back.
    """

    model: ArrayPlan
    update: ArrayPlan


def planned_arrays(config: RunConfig) -> PlannedArrays:
    """What a round of a run moves.

    Raises:
        ConfigError: The encoder is unknown, or its weights are not on this machine.
    """
    encoder = ENCODERS.load(config.encoder.name)(config.encoder)
    _, model = split_frozen(fresh_model(encoder, config))
    arrays = model_arrays(model)
    trained = {name: arrays[name] for name in trainable_names(model)}
    return PlannedArrays(model=ArrayPlan.of(arrays), update=ArrayPlan.of(trained))


def planned_events(config: RunConfig, plan: PrivacyPlan | None, *, alone: bool = False) -> dict[str, list[Event]]:
    """What a run reserves of each cohort of a site's patients over all its rounds; nothing where it is not private.

    Args:
        config: The run's configuration.
        plan: What a round costs the site.
        alone: Whether everybody that noise is shared with told the server what they know.
    """
    counts = [noise for noise in (noise_of(config), group_noise_of(config)) if noise is not None]
    event = None if plan is None else plan.event_alone if alone else plan.event
    return {
        TRAINING: [] if event is None else [event] * config.federation.rounds,
        HELD_OUT: [noise.event_alone if alone else noise.event for noise in counts],
    }
