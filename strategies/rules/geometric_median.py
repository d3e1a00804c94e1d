"""Geometric median: the point with the least sum of distances to the updates, to convergence.

Weiszfeld's iteration with the step of Vardi and Zhang (PNAS 2000) for an estimate that meets an update. The estimate
is always a combination of the updates, so an iteration touches S x S numbers and no value of a model.

Robustness: kappa = 4 (1 + f / (S - 2f))^2 for f < S / 2 (Allouah et al., AISTATS 2023, Proposition 3).

Shapes: T points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from strategies.gram import Points, majority_distance
from strategies.interface import WeighingRule

MOST_STEPS = 2000
CONVERGED = 1e-9
"""Change of the weights in a step, in all, at which it ends."""

MEETS = 1e-12
"""Squared distance of an estimate to an update, over that of the majority, at which they are the same point."""


class GeometricMedian(WeighingRule):
    """The median of the updates as points."""

    cancels = True

    def least_points(self, num_byzantine: int) -> float:
        """2f + 1."""
        return 2 * num_byzantine + 1

    def kappa(self, num_points: int, num_byzantine: int) -> float | None:
        """4 (1 + f / (T - 2f))^2."""
        return 4 * (1 + num_byzantine / (num_points - 2 * num_byzantine)) ** 2

    def weights(self, points: Points, num_byzantine: int) -> Tensor:  # noqa: ARG002 - it needs no f
        """The weights of the median as a combination."""
        reach_T = majority_distance(points.between_updates)
        # From amid the majority: from the mean, which one far update can move anywhere, the first steps would be lost.
        weights_T = torch.zeros(points.num_updates, dtype=torch.float64)
        weights_T[reach_T.argmin()] = 1
        gram_TT = points.gram_NN[: points.num_updates, : points.num_updates]
        for _ in range(MOST_STEPS):
            stepped_T = _step(gram_TT, weights_T, met=MEETS * float(reach_T.amin()))
            if (stepped_T - weights_T).abs().sum() < CONVERGED:
                return stepped_T
            weights_T = stepped_T
        return weights_T


def _step(gram_TT: Tensor, weights_T: Tensor, *, met: float) -> Tensor:
    """One step; `met` is the squared distance at which the estimate and an update are the same point."""
    # About a centre amid the majority nothing cancels, however far a bad update is: its weight falls as it goes.
    along_T = gram_TT @ weights_T
    squared_T = gram_TT.diagonal() - 2 * along_T + weights_T @ along_T
    met_T = squared_T <= met
    inverse_T = torch.where(met_T, 0.0, squared_T.clamp(min=met).rsqrt())
    if not inverse_T.any():
        return weights_T
    towards_T = inverse_T / inverse_T.sum()
    if not met_T.any():
        return towards_T
    # The updates that the estimate meets hold it with a force of one each against the pull of the others.
    pull_T = inverse_T.sum() * (towards_T - weights_T)
    pull = float((pull_T @ gram_TT @ pull_T).clamp(min=0).sqrt())
    held = min(1.0, int(met_T.sum()) / pull) if pull > 0 else 1.0
    return (1 - held) * towards_T + held * weights_T
