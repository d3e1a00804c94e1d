"""How the server applies the aggregated update: federated averaging with momentum (Hsu et al., arXiv 1909.06335).

With momentum 0 and learning rate 1 it is plain federated averaging.

Shapes: P trained parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from strategies.interface import State


@dataclass(frozen=True, kw_only=True)
class ServerMomentum:
    """Heavy-ball momentum over rounds.

    Attributes:
        learning_rate: Multiplies the momentum in each round.
        momentum: Share of the last round's momentum that is kept, in [0, 1).
    """

    learning_rate: float
    momentum: float

    def init(self, num_values: int) -> State:
        """State before the first round."""
        return {"momentum": torch.zeros(num_values)} if self.momentum else {}

    def step(self, update_P: Tensor, state: State) -> tuple[Tensor, State]:
        """The change `[P]` of the global model, and the state for the next round."""
        if not self.momentum:
            return self.learning_rate * update_P, state
        kept = self.momentum * state["momentum"] + update_P
        return self.learning_rate * kept, {"momentum": kept}
