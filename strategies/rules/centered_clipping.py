"""Centred clipping (Karimireddy et al., ICML 2021): from a centre, the mean of the updates' clipped distances to it.

Three steps `v + mean of (x - v) * min(1, radius / ||x - v||)`. The radius of a step is the median distance to the
centre, so that no length has to be chosen. The first centre is the coordinate-wise median of this round or the last
round's aggregate, whichever is nearer to most updates: history helps against attacks that drift over rounds, and
cannot hurt where it is far off.

Robustness: it bears f < S / 2 bad sites; with a radius that follows the data no kappa is proven.

Shapes: T points, E candidates for the first centre, N = T + 1 + E points (the candidates after the origin), P values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from strategies.cohort import Cohort
from strategies.gram import Points
from strategies.interface import Aggregate, Rule, State
from strategies.rules.median import coordinate_median

NUM_STEPS = 3
CENTRE = "centre"
"""Name in the state of the last round's aggregate."""


class CenteredClipping(Rule):
    """A centre that each site can pull by one radius."""

    cancels = True

    def least_points(self, num_byzantine: int) -> float:
        """2f + 1."""
        return 2 * num_byzantine + 1

    def apply(self, cohort: Cohort, state: State) -> Aggregate:
        """See `Rule`."""
        median_P = coordinate_median(cohort)
        history = [state[CENTRE]] if CENTRE in state else []
        points = cohort.points_with(median_P, *history)
        centre_N = _first_centre(points)
        for _ in range(NUM_STEPS):
            centre_N = _step(points, centre_N)
        weights_T, (of_median, *of_history) = centre_N[: cohort.num_points], centre_N[cohort.num_points + 1 :]
        # The median's memory becomes the result's.
        update_P = median_P.mul_(float(of_median))
        for share, history_P in zip(of_history, history, strict=True):
            update_P.add_(history_P, alpha=float(share))
        cohort.weighted_sum(weights_T, onto_P=update_P)
        return Aggregate(update_P, cohort.site_weights(weights_T), {CENTRE: update_P})


def _first_centre(points: Points) -> Tensor:
    """The candidate with the least median distance to the updates, as coefficients `[N]`."""
    first = points.num_updates + 1
    reach_E = points.distances_NN[first:, : points.num_updates].median(dim=1).values
    centre_N = torch.zeros(len(points.gram_NN), dtype=torch.float64)
    centre_N[first + int(reach_E.argmin())] = 1
    return centre_N


def _step(points: Points, centre_N: Tensor) -> Tensor:
    num_updates = points.num_updates
    along_N = points.gram_NN @ centre_N
    squared_N = points.gram_NN.diagonal() - 2 * along_N + centre_N @ along_N
    distances_T = squared_N[:num_updates].clamp(min=0).sqrt()
    radius = distances_T.median()
    pulls_T = torch.where(distances_T > radius, radius / distances_T, 1.0) / num_updates
    moved_N = centre_N * (1 - pulls_T.sum())
    moved_N[:num_updates] += pulls_T
    return moved_N
