"""What every aggregation rule offers: a pure, deterministic function of the updates and its own explicit state.

The state is plain named arrays, so that a checkpoint holds it and a resumed run goes on bit by bit.

Shapes: S sites of the cohort, P trained parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from common.config.registry import Registry

State = dict[str, Tensor]


@dataclass(frozen=True)
class Aggregate:
    """What a rule makes of one round's updates.

    Attributes:
        update_P: The aggregated update, float32.
        site_weights_S: Share of each site in it, where the rule can say it; sums to 1.
        state: State for the next round.
    """

    update_P: Tensor
    site_weights_S: Tensor
    state: State


class Aggregator(Protocol):
    """An aggregation rule."""

    def init(self) -> State:
        """State before the first round."""
        ...

    def aggregate(self, updates_SP: Tensor, weights_S: Tensor, state: State) -> Aggregate:
        """One update from finite updates `[S, P]`, float32.

        Args:
            updates_SP: Admitted updates.
            weights_S: Public weights, positive, from patient bands; a robust rule may not trust them.
            state: State that `init` or the last call gave.

        Raises:
            AggregationError: The cohort is too small for the rule.
        """
        ...

    def max_byzantine(self, num_sites: int) -> int:
        """The most sites that may send anything without steering the result, in a cohort of `num_sites`."""
        ...


class AggregatorFactory(Protocol):
    """Builds a rule."""

    def __call__(self, *, num_byzantine: int) -> Aggregator:
        """A rule that bears `num_byzantine` sites."""
        ...


AGGREGATORS: Registry[AggregatorFactory] = Registry(
    "aggregator.name",
    {"mean": "strategies.mean:Mean", "trimmed_mean": "strategies.trimmed_mean:TrimmedMean"},
)
