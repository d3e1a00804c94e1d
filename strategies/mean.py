"""Weighted mean: the rule of federated averaging (McMahan et al., AISTATS 2017). One bad site moves it at will.

Shapes: S sites, P trained parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from common.errors import AggregationError, ConfigError
from strategies.interface import Aggregate, State


@dataclass(frozen=True, kw_only=True)
class Mean:
    """Mean weighted by public patient bands; breakdown point 0.

    Attributes:
        num_byzantine: Must be 0.
    """

    num_byzantine: int

    def __post_init__(self) -> None:
        if self.num_byzantine:
            raise ConfigError(
                f"aggregator.num_byzantine={self.num_byzantine}: the mean bears no bad site; "
                "use aggregator.name=trimmed_mean"
            )

    def init(self) -> State:
        """No state."""
        return {}

    def aggregate(self, updates_SP: Tensor, weights_S: Tensor, state: State) -> Aggregate:
        """See `Aggregator`."""
        if not len(updates_SP):
            raise AggregationError("no update was admitted")
        share_S = (weights_S / weights_S.sum()).to(updates_SP.dtype)
        return Aggregate(share_S @ updates_SP, share_S, state)

    def max_byzantine(self, num_sites: int) -> int:  # noqa: ARG002 - the same for every cohort
        """None."""
        return 0
