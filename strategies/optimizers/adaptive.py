"""FedAdam and FedYogi: each coordinate has a step of its own, from the size of its past updates.

Reddi et al. (ICLR 2021, arXiv 2003.00295), Algorithm 2, with the update D of a round, momentum m and squared size v:

    m <- b1 m + (1 - b1) D                          from m = 0
    v <- b2 v + (1 - b2) D^2                        Adam, from v = tau^2
    v <- v - (1 - b2) D^2 sign(v - D^2)             Yogi, from v = tau^2
    x <- x + rate m / (sqrt(v) + tau)

As there, the bias of the start is not corrected: tau^2 in v and tau below the line keep the first steps short. A round
moves a coordinate by up to about the learning rate, whatever the update's length, so that it wants .001 to .1 here.

The state grows with the squares of what is aggregated, so that one admitted outlier would shrink the steps of many
rounds: use a robust rule before it.

Shapes: P trained parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from common.config.schema import ServerOptimizerConfig
from strategies.interface import State

Second = Callable[[Tensor, Tensor, float], Tensor]
"""The next squared size `[P]` from the last one, the squared update and the share that is kept."""


@dataclass(frozen=True, kw_only=True)
class AdaptiveOptimizer:
    """Algorithm 2 with one of its rules for the squared size.

    Attributes:
        learning_rate: Rate.
        momentum: b1, share of the last rounds' direction that is kept.
        second_momentum: b2, share of the last rounds' squared size that is kept.
        adaptivity: tau; the smaller, the more do small coordinates move.
        second: Rule for the squared size.
    """

    learning_rate: float
    momentum: float
    second_momentum: float
    adaptivity: float
    second: Second

    def init(self, num_values: int) -> State:
        """No direction yet; the squared size is tau^2."""
        return {
            "momentum": torch.zeros(num_values),
            "second_momentum": torch.full((num_values,), self.adaptivity**2),
        }

    def step(self, update_P: Tensor, state: State) -> tuple[Tensor, State]:
        """See `ServerOptimizer`."""
        momentum_P = self.momentum * state["momentum"] + (1 - self.momentum) * update_P
        second_P = self.second(state["second_momentum"], update_P.square(), self.second_momentum)
        change_P = self.learning_rate * momentum_P / (second_P.sqrt() + self.adaptivity)
        return change_P, {"momentum": momentum_P, "second_momentum": second_P}


def adam_second(second_P: Tensor, squared_P: Tensor, kept: float) -> Tensor:
    """Moves towards the squared update by a share of their difference."""
    return kept * second_P + (1 - kept) * squared_P


def yogi_second(second_P: Tensor, squared_P: Tensor, kept: float) -> Tensor:
    """Moves towards the squared update by a share of the squared update: a small one takes little of a large size.

    It stays above 0: where it is lowered, it was above the squared update, of which a share is taken.
    """
    return second_P - (1 - kept) * squared_P * torch.sign(second_P - squared_P)


def fedadam(config: ServerOptimizerConfig) -> AdaptiveOptimizer:
    """Adam on the server."""
    return _adaptive(config, adam_second)


def fedyogi(config: ServerOptimizerConfig) -> AdaptiveOptimizer:
    """Yogi on the server."""
    return _adaptive(config, yogi_second)


def _adaptive(config: ServerOptimizerConfig, second: Second) -> AdaptiveOptimizer:
    return AdaptiveOptimizer(
        learning_rate=config.learning_rate,
        momentum=config.momentum,
        second_momentum=config.second_momentum,
        adaptivity=config.adaptivity,
        second=second,
    )
