"""What every server optimizer offers: a pure, deterministic step from the aggregated update to the model's change.

The server minimises as a site does, with minus the aggregated update in the gradient's place (Reddi et al., ICLR
2021, arXiv 2003.00295, Algorithm 1). The state is plain named arrays, so that a checkpoint holds it and a resumed run
goes on bit by bit.

Shapes: P trained parameters.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from common.config.registry import Registry
from common.config.schema import ServerOptimizerConfig
from strategies.interface import State


class ServerOptimizer(Protocol):
    """How the server applies an update."""

    def init(self, num_values: int) -> State:
        """State before the first round, for P parameters."""
        ...

    def step(self, update_P: Tensor, state: State) -> tuple[Tensor, State]:
        """The change `[P]` of the global model, and the state for the next round; both in memory of their own.

        Args:
            update_P: The aggregated update, float32 and finite; it stays as it is.
            state: State that `init` or the last call gave; it stays as it is.
        """
        ...


class OptimizerFactory(Protocol):
    """Builds an optimizer."""

    def __call__(self, config: ServerOptimizerConfig) -> ServerOptimizer:
        """The optimizer of a run.

        Raises:
            ConfigError: A value asks for what this optimizer does not do.
        """
        ...


OPTIMIZERS: Registry[OptimizerFactory] = Registry(
    "server_optimizer.name",
    {
        "fedavg": "strategies.optimizers.averaging:fedavg",
        "fedavgm": "strategies.optimizers.averaging:fedavgm",
        "fedadam": "strategies.optimizers.adaptive:fedadam",
        "fedyogi": "strategies.optimizers.adaptive:fedyogi",
    },
)


def build_optimizer(config: ServerOptimizerConfig) -> ServerOptimizer:
    """The optimizer of a run.

    Raises:
        ConfigError: The name is unknown, or a value asks for what this optimizer does not do.
    """
    return OPTIMIZERS.load(config.name)(config)
