"""Coordinate-wise trimmed mean (Yin et al., ICML 2018): the f greatest and f least values of each coordinate go.

Robustness: kappa = 6 f / (S - 2f) * (1 + f / (S - 2f)) for f < S / 2 (Allouah et al., AISTATS 2023, Proposition 2).
Weights are not trusted: every site counts once.

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


class TrimmedMean(Rule):
    """Mean of what is left of each coordinate."""

    cancels = True

    def least_points(self, num_byzantine: int) -> float:
        """2f + 1."""
        return 2 * num_byzantine + 1

    def kappa(self, num_points: int, num_byzantine: int) -> float | None:
        """6 f / (T - 2f) * (1 + f / (T - 2f))."""
        share = num_byzantine / (num_points - 2 * num_byzantine)
        return 6 * share * (1 + share)

    def apply(self, cohort: Cohort, state: State) -> Aggregate:
        """See `Rule`."""
        places = range(cohort.num_byzantine, cohort.num_points - cohort.num_byzantine)

        def reducer() -> ReduceRows:
            like = cohort.updates_SP
            sorter = RowSorter(cohort.num_points, places, like=like, most_values=block_values(like.device))

            def reduce(rows: Sequence[Tensor], out_B: Tensor) -> None:
                first, *others = sorter.sort(rows)
                torch.mul(first, 1 / len(places), out=out_B)
                for row in others:
                    out_B.add_(row, alpha=1 / len(places))

            return reduce

        return Aggregate(cohort.by_coordinate(reducer), picked_shares(cohort, places), state)
