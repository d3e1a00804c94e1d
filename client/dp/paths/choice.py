"""Which path a run takes."""

from __future__ import annotations

from client.dp.paths.interface import PATHS, Differentiation, GradientPath
from client.dp.paths.linear import first_not_linear
from common.encoders.dual import DualEncoder


def path_for(name: str, model: DualEncoder, differentiation: Differentiation) -> GradientPath:
    """The path of `training.gradients`; `auto` is the closed form where it applies, else `vmap`.

    Raises:
        ConfigError: The path is unknown or cannot differentiate the model.
    """
    if name == "auto":
        name = "vmap" if first_not_linear(model) else "linear"
    path = PATHS.load(name)(differentiation)
    path.refuse(model)
    return path
