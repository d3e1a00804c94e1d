"""Bulyan (El Mhamdi et al., ICML 2018): S - 2f updates by repeated Krum, then the values nearest to their median.

Of each coordinate the S - 4f values nearest to the median of the selected ones are averaged.

Robustness: it bears f bad sites for S >= 4f + 3, and also bounds how far one coordinate alone can be moved; no kappa
is proven in the form that the other rules state.

Shapes: T points, K selected ones, B values of a block.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from strategies.blocks import block_values
from strategies.cohort import Cohort, ReduceRows
from strategies.interface import Aggregate, Rule, State
from strategies.rules.krum import krum_order
from strategies.sorting_network import RowSorter


class Bulyan(Rule):
    """Krum's choice of updates, then the middle of each coordinate."""

    def least_points(self, num_byzantine: int) -> float:
        """4f + 3."""
        return 4 * num_byzantine + 3

    def apply(self, cohort: Cohort, state: State) -> Aggregate:
        """See `Rule`; a site's weight says whether it was selected."""
        num_selected = cohort.num_points - 2 * cohort.num_byzantine
        chosen_K = repeated_krum(cohort.points.between_updates, cohort.num_byzantine, num_selected)
        chosen_KT = torch.eye(cohort.num_points, dtype=torch.float64)[chosen_K]
        num_averaged = num_selected - 2 * cohort.num_byzantine

        def reducer() -> ReduceRows:
            like = cohort.updates_SP
            sorter = RowSorter(num_selected, range(num_selected), like=like, most_values=block_values(like.device))
            return lambda rows, out_B: _mean_around_median(sorter.sort(rows), num_averaged, out_B)

        update_P = cohort.mixed(chosen_KT).by_coordinate(reducer)
        return Aggregate(update_P, cohort.site_weights(chosen_KT.sum(0) / num_selected), state)


def repeated_krum(distances_TT: Tensor, num_byzantine: int, num_selected: int) -> list[int]:
    """The points that Krum chooses one after another, each from those that are left."""
    left, chosen = list(range(len(distances_TT))), []
    for _ in range(num_selected):
        best = krum_order(distances_TT[left][:, left], num_byzantine)[0]
        chosen.append(left.pop(int(best)))
    return sorted(chosen)


def _mean_around_median(ascending: Sequence[Tensor], num_averaged: int, out_B: Tensor) -> None:
    """Mean of the values nearest to the median: a window of the order that slides up while that brings it nearer."""
    middle = (len(ascending) - 1) // 2, len(ascending) // 2
    median_B = 0.5 * ascending[middle[0]] + 0.5 * ascending[middle[1]]
    window = list(ascending[:num_averaged])
    for start in range(len(ascending) - num_averaged):
        slides_B = median_B - ascending[start] > ascending[start + num_averaged] - median_B
        window = [torch.where(slides_B, ascending[start + place + 1], value_B) for place, value_B in enumerate(window)]
    torch.mul(window[0], 1 / num_averaged, out=out_B)
    for value_B in window[1:]:
        out_B.add_(value_B, alpha=1 / num_averaged)
