"""Coordinate-wise median (Yin et al., ICML 2018). Weights are not trusted: every site counts once.

Robustness: kappa = 4 (1 + f / (S - 2f))^2 for f < S / 2 (Allouah et al., AISTATS 2023, Proposition 3).

Shapes: T points, B values of a block.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from strategies.blocks import block_values
from strategies.cohort import Cohort, ReduceRows
from strategies.interface import Aggregate, Rule, State
from strategies.picked import picked_shares
from strategies.sorting_network import RowSorter


class Median(Rule):
    """The middle value of each coordinate, or the mean of the two."""

    def least_points(self, num_byzantine: int) -> float:
        """2f + 1."""
        return 2 * num_byzantine + 1

    def kappa(self, num_points: int, num_byzantine: int) -> float | None:
        """4 (1 + f / (T - 2f))^2."""
        return 4 * (1 + num_byzantine / (num_points - 2 * num_byzantine)) ** 2

    def apply(self, cohort: Cohort, state: State) -> Aggregate:
        """See `Rule`."""
        return Aggregate(coordinate_median(cohort), picked_shares(cohort, middle_of(cohort.num_points)), state)


def middle_of(num_points: int) -> range:
    """Places of the middle value, or of the two, in ascending order."""
    return range((num_points - 1) // 2, num_points // 2 + 1)


def coordinate_median(cohort: Cohort) -> Tensor:
    """The median `[P]` of each coordinate."""

    def reducer() -> ReduceRows:
        like = cohort.updates_SP
        sorter = RowSorter(
            cohort.num_points, middle_of(cohort.num_points), like=like, most_values=block_values(like.device)
        )

        def reduce(rows: Sequence[Tensor], out_B: Tensor) -> None:
            places = sorter.sort(rows)
            # Not their sum first: two values near the greatest float32 would overflow.
            torch.mul(places[0], 0.5, out=out_B).add_(places[-1], alpha=0.5)

        return reduce

    return cohort.by_coordinate(reducer)
