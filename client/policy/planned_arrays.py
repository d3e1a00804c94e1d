"""The arrays that a run will train, known from its configuration before any study is read."""

from __future__ import annotations

from common.config.schema import RunConfig
from common.encoders.dual import trainable_names
from common.encoders.public_fit import fresh_model, split_frozen
from common.encoders.registry import ENCODERS
from common.wire.update import ArrayPlan


def planned_arrays(config: RunConfig) -> ArrayPlan:
    """Names, shapes and types of the update of a run.

    Raises:
        ConfigError: The encoder is unknown, or its weights are not on this machine.
    """
    encoder = ENCODERS.load(config.encoder.name)(config.encoder)
    _, model = split_frozen(fresh_model(encoder, config))
    arrays = {name: model.get_parameter(name) for name in trainable_names(model)}
    return ArrayPlan(
        {name: (tuple(array.shape), str(array.dtype).removeprefix("torch.")) for name, array in arrays.items()}
    )
