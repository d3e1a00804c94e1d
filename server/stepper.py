"""From the admitted updates of a round to the next model: the robust rule, then the server's optimizer.

Shapes: S sites, P trained parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.config.schema import RunConfig
from common.errors import AggregationError
from common.privacy.plan import PlanOf, pair_law
from common.wire.update import ArrayPlan
from server.checkpoint import RunState
from server.weights import factors_of, noise_of, scales_of, weights_of
from strategies.composition import build_aggregator
from strategies.interface import Aggregate, State
from strategies.optimizers.interface import build_optimizer


class Stepper:
    """Aggregates updates, and moves the model by what comes of them.

    Args:
        config: The run's configuration.
        plan: How the trained arrays lie in a flat update.
        privacy: What a round costs a site with a band of patients.
    """

    def __init__(self, config: RunConfig, plan: ArrayPlan, privacy: PlanOf) -> None:
        self._config = config
        self._plan = plan
        self._privacy = privacy
        self._aggregator = build_aggregator(config.aggregator, seed=config.seed)
        self._optimizer = build_optimizer(config.server_optimizer)

    def max_byzantine(self, num_sites: int) -> int:
        """How many lying sites of so many the rule bears."""
        return self._aggregator.max_byzantine(num_sites)

    def aggregate(self, state: RunState, updates_SP: NDArray[np.float32], admitted: Sequence[str]) -> Aggregate:
        """What the updates of some sites come to, one row each in the order of their names; moves nothing.

        Raises:
            AggregationError: The rule cannot bear so few sites, or what comes of it is not finite.
        """
        bands = [state.sites[site].patients_band for site in admitted]
        if pair_law(self._config) is not None:
            # What two sites share cancels where all count alike, and all are equally noisy.
            weights_S, scales_S = torch.ones(len(bands)), None
        else:
            plans = [self._privacy(band) for band in bands]
            noises = [noise_of(plan, band) for plan, band in zip(plans, bands, strict=True) if plan is not None]
            factors = factors_of(admitted, self._config.mitigation)
            weights_S, scales_S = weights_of(bands, factors), scales_of(noises) if noises else None
            if factors is not None:
                scales_S = torch.tensor(factors) * (1.0 if scales_S is None else scales_S)
        rule_state = _to_tensors(state.arrays["aggregator"]) or self._aggregator.init()
        updates = torch.from_numpy(updates_SP)
        aggregate = self._aggregator.aggregate(updates, weights_S, rule_state, scales_S=scales_S)
        if not math.isfinite(float(aggregate.update_P.norm())):
            raise AggregationError("the aggregated update is not finite")
        return aggregate

    def step(self, state: RunState, aggregate: Aggregate) -> None:
        """Move the model, and keep what rule and optimizer remember."""
        optimizer_state = _to_tensors(state.arrays["optimizer"]) or self._optimizer.init(self._plan.num_values)
        change_P, optimizer_state = self._optimizer.step(aggregate.update_P, optimizer_state)
        model = state.arrays["model"]
        for name, change in self._plan.unflatten((change_P * state.watched.step).numpy()).items():
            model[name] = model[name] + change
        state.arrays["aggregator"] = _to_arrays(aggregate.state)
        state.arrays["optimizer"] = _to_arrays(optimizer_state)


def _to_tensors(arrays: dict[str, NDArray[Any]]) -> State:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _to_arrays(state: State) -> dict[str, NDArray[Any]]:
    """Copies: a rule may return a view of the updates, whose memory the next round writes over."""
    return {name: tensor.numpy().copy() for name, tensor in state.items()}
