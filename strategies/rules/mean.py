"""Weighted mean: the rule of federated averaging (McMahan et al., AISTATS 2017). One bad site moves it at will.

Shapes: T points.
"""

from __future__ import annotations

import math

from strategies.cohort import Cohort
from strategies.interface import Aggregate, Rule, State


class Mean(Rule):
    """Mean weighted by public patient bands; breakdown point 0."""

    cancels = True

    def least_points(self, num_byzantine: int) -> float:
        """One, and no bad one."""
        return math.inf if num_byzantine else 1

    def kappa(self, num_points: int, num_byzantine: int) -> float | None:  # noqa: ARG002 - it bears none
        """0 with equal weights: there is one set of good updates, and it is their mean."""
        return 0.0

    def apply(self, cohort: Cohort, state: State) -> Aggregate:
        """See `Rule`."""
        share_T = cohort.weights_T / cohort.weights_T.sum()
        return Aggregate(cohort.weighted_sum(share_T), cohort.site_weights(share_T), state)
