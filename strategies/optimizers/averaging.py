"""Federated averaging (McMahan et al., AISTATS 2017), and the same with momentum (Hsu et al., arXiv 1909.06335).

Shapes: P trained parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.config.schema import ServerOptimizerConfig
from common.errors import ConfigError
from strategies.interface import State


@dataclass(frozen=True, kw_only=True)
class FedAvg:
    """The model moves by the aggregated update; it has no state.

    Attributes:
        learning_rate: Multiplies the update; 1 is federated averaging as it was published.
    """

    learning_rate: float

    def init(self, num_values: int) -> State:  # noqa: ARG002 - of `ServerOptimizer`
        """No state."""
        return {}

    def step(self, update_P: Tensor, state: State) -> tuple[Tensor, State]:
        """See `ServerOptimizer`."""
        return self.learning_rate * update_P, state


@dataclass(frozen=True, kw_only=True)
class FedAvgM:
    """Heavy-ball momentum over rounds.

    Attributes:
        learning_rate: Multiplies the momentum in each round.
        momentum: Share of the last round's momentum that is kept, in [0, 1); 0 is federated averaging.
    """

    learning_rate: float
    momentum: float

    def init(self, num_values: int) -> State:
        """No momentum yet."""
        return {"momentum": torch.zeros(num_values)}

    def step(self, update_P: Tensor, state: State) -> tuple[Tensor, State]:
        """See `ServerOptimizer`."""
        momentum_P = self.momentum * state["momentum"] + update_P
        return self.learning_rate * momentum_P, {"momentum": momentum_P}


def fedavg(config: ServerOptimizerConfig) -> FedAvg:
    """Federated averaging.

    Raises:
        ConfigError: Momentum is asked for.
    """
    if config.momentum:
        raise ConfigError(
            f"server_optimizer.momentum={config.momentum}: fedavg keeps none; use server_optimizer.name=fedavgm"
        )
    return FedAvg(learning_rate=config.learning_rate)


def fedavgm(config: ServerOptimizerConfig) -> FedAvgM:
    """Federated averaging with momentum."""
    return FedAvgM(learning_rate=config.learning_rate, momentum=config.momentum)
